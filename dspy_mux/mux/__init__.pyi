from .ensemble import Ensemble as Ensemble
from .pool_file import open_mux as open_mux
from .slm_mux import SLMMux as SLMMux
