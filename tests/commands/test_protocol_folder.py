# ruff: noqa: F811
"""The folder of a protocol: what others may not write over, and what it may not say."""

from omegaconf import OmegaConf

from tests.commands.test_bad_input import assert_refused
from tests.commands.test_protocol import begun, stood_in  # noqa: F401


def test_the_table_of_a_protocol_is_not_written_over_by_that_of_a_sweep(run, begun):
    before = (begun / "table.md").read_text()
    done = run("sweeps", f"folder={begun}")
    assert_refused(done, "it is the folder of a protocol", f"python -m nas.report folder={begun}")
    assert (begun / "table.md").read_text() == before


def test_a_list_that_is_typed_again_vouches_for_itself_alone(run, begun, stood_in):
    """What a folder says was typed may be what its owner wants to be typed again."""
    config = OmegaConf.load(begun / "config.yaml")
    config.overrides = ["dataset.num_workers=1", "dataset.download=true"]
    (begun / "config.yaml").write_text(OmegaConf.to_yaml(config))
    harmless = 'overrides=["dataset.num_workers=1"]'
    same = 'overrides=["dataset.num_workers=1","dataset.download=true"]'
    (begun / "overrides.yaml").write_text(OmegaConf.to_yaml([harmless, same]))
    assert_refused(run("protocol", f"resume={begun}", harmless), "dataset.download=true takes more than")
    assert not stood_in[1]
    assert run("protocol", f"resume={begun}", same).status == 0


def test_what_a_folder_calls_itself_sets_no_colours_and_what_it_lacks_is_named(run, begun, stood_in):
    config = OmegaConf.load(begun / "config.yaml")
    config.protocol = "a[red]\x1b[31m"
    (begun / "config.yaml").write_text(OmegaConf.to_yaml(config))
    done = run("protocol", f"resume={begun}")
    assert done.status == 0 and "a[red]\\x1b[31m: 4 searches" in done.out and "\x1b[31m" not in done.out
    del config.search["grid"]
    (begun / "config.yaml").write_text(OmegaConf.to_yaml(config))
    assert_refused(
        run("protocol", f"resume={begun}"), f"resume={begun}: config.yaml is damaged", "search.grid"
    )
