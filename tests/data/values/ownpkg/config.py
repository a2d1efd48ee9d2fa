from pathlib import Path

FOLDS = 5
DEPTH = None
TABLE = {}
HERE = Path(__file__).parent


def depth():
    return DEPTH, dict(TABLE)


def words():
    return (HERE / "words.txt").read_text().split()
