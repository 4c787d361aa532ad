"""What several test folders share: a class that was really trained, and the real photos where there are any."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos beside the checkout; `docs/data.md` says what they are and where anyone gets them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real photos here: {SHARED_DATA} is missing (docs/data.md says how to get them)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder of three made-up students and the run folder of a small U-Net that learnt them."""
    pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")
    from tests.train.made_up import make_class
    from train.dataset import open_dataset
    from train.recipes import default
    from train.training import fit

    folder = tmp_path_factory.mktemp("trained")
    data, run = make_class(folder / "class", photos=36), folder / "run"
    recipe = default().replace(size=64, widths=(8, 16, 24), epochs=20, batch=2, ema=0.9, learning_rate=0.01)
    fit(open_dataset(data), recipe, run)
    return data, run
