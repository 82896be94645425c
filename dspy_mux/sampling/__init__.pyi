from .draw import Draw as Draw
from .members import Member as Member
from .run import asample as asample, sample as sample
