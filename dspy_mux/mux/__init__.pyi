from .ensemble import Ensemble as Ensemble
from .open import open_mux as open_mux
from .slm_mux import SLMMux as SLMMux
