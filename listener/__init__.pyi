"""What `import listener` gives, for type checkers; `__init__.py` loads it lazily."""

from listener import plot as plot
from listener.api import Db as Db
from listener.api import Simulation as Simulation
from listener.api import detect as detect
from listener.api import evaluate as evaluate
from listener.api import open as open
from listener.api import replay as replay
from listener.api import sample as sample
from listener.api import score as score
from listener.api import simulate as simulate
from listener.api import train as train

__version__: str
__all__: list[str]
