from .database import Database as Database
from .salvage import salvage as salvage
from .schema import VERSION as VERSION
