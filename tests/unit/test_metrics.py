"""The metrics: declared once, bounded labels, the text format."""

from prometheus_client.parser import text_string_to_metric_families

from rollbook import __version__, metrics

BOUNDED = {
    "kind",
    "cause",
    "row",
    "sink",
    "result",
    "verb",
    "resource",
    "status",
    "unit",
    "version",
    "le",
}
"""Kinds, reasons, sinks: an install's number of workloads must not multiply the series."""


def test_the_exposition_can_be_read_and_says_which_rollbook_it_is() -> None:
    metrics.FAILURES.labels(unit="a test").inc()
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    (build,) = families["rollbook_build_info"].samples
    assert build.labels == {"version": __version__}
    assert any(each.labels == {"unit": "a test"} for each in families["rollbook_failures"].samples)


def test_all_are_ours_and_say_what_they_mean() -> None:
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) > 10
    assert [each.name for each in families if not each.name.startswith("rollbook_")] == []
    assert [each.name for each in families if not each.documentation.endswith(".")] == []


def test_labels_are_bounded() -> None:
    declared = [each for name, each in vars(metrics).items() if name.isupper() and hasattr(each, "_labelnames")]
    assert len(declared) > 10
    assert {label for each in declared for label in each._labelnames} <= BOUNDED
