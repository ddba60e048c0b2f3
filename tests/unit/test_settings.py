"""Settings: read from the environment and from flags, and a wrong one is refused by its name."""

from pathlib import Path

import pytest

from rollbook.core.errors import ConfigError
from rollbook.settings import Settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    import os  # noqa: PLC0415 - to be read when the test runs

    for name in (*os.environ, "POD_NAME", "POD_NAMESPACE"):
        if name.startswith(("ROLLBOOK_", "POD_NAME")):
            monkeypatch.delenv(name, raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"ROLLBOOK_{name}", value)
    return Settings.load()


def test_without_any_setting_it_tracks_all_but_what_is_the_clusters_and_its_own() -> None:
    settings = Settings.load()
    assert (settings.cluster, settings.namespace, settings.kubeconfig) == ("default", "rollbook-system", None)
    rules = settings.rules
    assert (rules.cluster, rules.default_environment, rules.track_default) == ("default", "", True)
    assert rules.excluded_namespaces == ("kube-*", "rollbook-system")
    policy = settings.policy(7)
    assert (policy.epoch, policy.idle_grace, policy.missing_grace, policy.history) == (7, 300_000, 30_000, 1)


def test_lists_and_pairs_come_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        EXCLUDED_NAMESPACES=" kube-* , ,monitoring,",
        NAMESPACE_ENVIRONMENTS="payments-* = production, sandbox=development,",
        MOVING_TAGS="",
    )
    assert settings.excluded_namespaces == ("kube-*", "monitoring")
    assert settings.namespace_environments == (("payments-*", "production"), ("sandbox", "development"))
    assert settings.moving_tags == ()
    assert settings.rules.namespace_environments == settings.namespace_environments
    assert settings.rules.excluded_namespaces == ("kube-*", "monitoring", "rollbook-system")


def test_lists_and_pairs_are_taken_as_such_too() -> None:
    settings = Settings.load(moving_tags=["main"], namespace_environments=[("a", "b")])
    assert (settings.moving_tags, settings.namespace_environments) == (("main",), (("a", "b"),))


def test_flags_win_over_the_environment_and_a_flag_that_is_not_given_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROLLBOOK_CLUSTER", "from-environment")
    monkeypatch.setenv("ROLLBOOK_LISTEN_PORT", "9000")
    settings = Settings.load(cluster="from-flag", listen_port=None, kubeconfig=Path("config"))
    assert (settings.cluster, settings.listen_port, settings.kubeconfig) == ("from-flag", 9000, Path("config"))


def test_durations_are_seconds_outside_and_milliseconds_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load(monkeypatch, IDLE_GRACE="0.5", MISSING_GRACE="0", HISTORY="3").policy(0)
    assert (policy.idle_grace, policy.missing_grace, policy.history) == (500, 0, 3)


def test_the_pod_says_who_and_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "rollbook-0")
    monkeypatch.setenv("POD_NAMESPACE", "tracking")
    settings = Settings.load()
    assert (settings.identity, settings.namespace) == ("rollbook-0", "tracking")


def test_outside_of_a_pod_nobody_else_has_the_same_name() -> None:
    assert Settings.load().identity != Settings.load().identity


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("CLUSTER", "", "pattern"),
        ("CLUSTER", "a cluster", "pattern"),
        ("CLUSTER", "a" * 64, "pattern"),
        ("CLUSTER", "a\n", "pattern"),
        ("NAMESPACE", "Rollbook", "pattern '^[a-z0-9]"),
        ("NAMESPACE", "../x", "pattern '^[a-z0-9]"),
        ("IDENTITY", "", "at least 1 character"),
        ("DEFAULT_ENVIRONMENT", "a/b", "pattern"),
        ("NAMESPACE_ENVIRONMENTS", "payments", "<namespace or glob>=<environment>"),
        ("NAMESPACE_ENVIRONMENTS", "payments=", "pattern"),
        ("NAMESPACE_ENVIRONMENTS", "=production", "at least 1 character"),
        ("TRACK_DEFAULT", "perhaps", "valid boolean"),
        ("TEAMS_MAY_UNTRACK", "", "valid boolean"),
        ("IDLE_GRACE", "-1", "greater than or equal to 0"),
        ("IDLE_GRACE", "5m", "valid number"),
        ("IDLE_GRACE", "nan", "86400"),
        ("MISSING_GRACE", "inf", "less than or equal to 86400"),
        ("SWEEP_INTERVAL", "0", "greater than or equal to 1"),
        ("HOLD_ABOVE", "20", "less than or equal to 1"),
        ("HISTORY", "21", "less than or equal to 20"),
        ("HISTORY", "1.5", "valid integer"),
        ("LISTEN_PORT", "65536", "less than or equal to 65535"),
        ("LISTEN_PORT", "http", "valid integer"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(monkeypatch, **{name: value})
    said = str(refused.value)
    assert said.startswith(f"ROLLBOOK_{name}: ")
    assert allowed in said
    assert "\n" not in said
    assert said.count("ROLLBOOK_") == 1


def test_every_wrong_setting_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as refused:
        load(monkeypatch, LOG_LEVEL="loud", HISTORY="many", DEFAULT_ENVIRONMENT="a/b")
    parts = str(refused.value).split("; ")
    assert [part.partition(":")[0] for part in parts] == [
        "ROLLBOOK_DEFAULT_ENVIRONMENT",
        "ROLLBOOK_HISTORY",
        "ROLLBOOK_LOG_LEVEL",
    ]
    assert parts[1].endswith("(it is 'many')")


def test_settings_do_not_change() -> None:
    settings = Settings.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.cluster = "another"
