from ..config import FOLDS

LEAVES = FOLDS + 1
