"""The tracker through real HTTP: semantics, error shapes, durability, the page."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollbook.tracker.server import running
from rollbook.tracker.settings import TrackerConfigError, TrackerSettings

TOKEN = "a-token-for-tests-only"
RECORDS = "/v1/deployments"
EVENTS = "/api/v2/engineering-insights/deployment-events"
DEPLOYMENTS = "/api/v2/engineering-insights/deployments"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BARE = {"Authorization": TOKEN}
BETA = BARE | {"LD-API-Version": "beta"}
SHOP = {"projectKey": "shop", "environmentKey": "production"}
RFC3339_MS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def report(letter: str, status: str = "DEPLOYED", **other: str) -> dict[str, str]:
    return {
        "environment_name": "production",
        "deployment_name": "pay/api/app",
        "kind": "CONTAINER_IMAGE",
        "artifact_digest": digest(letter),
        "artifact_name": "ghcr.io/acme/api",
        "artifact_version": f"v-{letter}",
        "status": status,
        **other,
    }


def event(event_type: str, version: str, at: int, **other: Any) -> dict[str, Any]:
    return SHOP | {"applicationKey": "api", "version": version, "eventType": event_type, "eventTime": at} | other


def settings_in(folder: Path, *, public_page: bool = False) -> TrackerSettings:
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    return TrackerSettings(port=0, database=folder / "t.db", token_file=token_file, public_page=public_page)


@asynccontextmanager
async def tracker_in(folder: Path, *, public_page: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running(settings_in(folder, public_page=public_page)) as tracker,
        httpx.AsyncClient(base_url=tracker.url) as client,
    ):
        yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with tracker_in(tmp_path) as found:
        yield found


async def slots(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/api/tracker/v1/slots", headers=BEARER)).json()["slots"]
    return found


async def rollouts(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/api/tracker/v1/rollouts", headers=BEARER)).json()["rollouts"]
    return found


@pytest.mark.parametrize(
    ("reports", "codes", "history"),
    [
        pytest.param(["a"], [200], ["a DEPLOYED"], id="deployed"),
        pytest.param(["a", "a"], [200, 200], ["a DEPLOYED"], id="idempotent"),
        pytest.param(["a", "b"], [200, 200], ["a SUPERSEDED", "b DEPLOYED"], id="superseded"),
        pytest.param(
            ["a", "b", "a"], [200] * 3, ["a SUPERSEDED", "b SUPERSEDED", "a DEPLOYED"], id="back to the first"
        ),
        pytest.param(["a", "-a", "-a"], [200] * 3, ["a DECOMMISSIONED"], id="decommissioned, idempotent"),
        pytest.param(["a", "-a", "a"], [200] * 3, ["a DECOMMISSIONED", "a DEPLOYED"], id="deployed again"),
        pytest.param(
            ["a", "b", "-a"], [200] * 3, ["a SUPERSEDED", "b DEPLOYED"], id="decommission the superseded"
        ),
        pytest.param(["a", "-c"], [200, 404], ["a DEPLOYED"], id="decommission the unknown"),
        pytest.param(["-a"], [404], None, id="decommission in an unknown slot"),
    ],
)
async def test_history_of_a_slot(
    client: httpx.AsyncClient, reports: list[str], codes: list[int], history: list[str] | None
) -> None:
    """WIRE §2.1: status meanings, automatic superseding, idempotency."""
    answers = [
        await client.post(
            RECORDS, json=report(said[-1], "DECOMMISSIONED" if said[0] == "-" else "DEPLOYED"), headers=BEARER
        )
        for said in reports
    ]
    assert [answer.status_code for answer in answers] == codes
    found = [
        [f"{r['artifact']['digest'][7]} {r['status']}" for r in slot["history"]] for slot in await slots(client)
    ]
    assert found == ([history] if history else [])


async def test_a_record_has_the_documented_fields(client: httpx.AsyncClient) -> None:
    """WIRE §2.1: response; §2.4: both casings are read, snake_case is written."""
    camel = {"environmentName": "production", "deploymentName": "x", "kind": "HELM_CHART", "status": "DEPLOYED"}
    answer = await client.post(RECORDS, json=camel | {"artifactDigest": digest("a"), "unknown": 1}, headers=BEARER)
    record = answer.json()["deployment_record"]
    assert list(record) == [
        "id",
        "environment_id",
        "environment_name",
        "artifact_id",
        "artifact",
        "deployment_name",
        "status",
        "created_at",
        "updated_at",
        "last_seen_at",
    ]
    assert record["artifact"] == {"kind": "HELM_CHART", "name": "", "digest": digest("a"), "version": ""}
    assert all(RFC3339_MS.match(record[name]) for name in ("created_at", "updated_at", "last_seen_at"))


async def test_slots_differ_by_environment_name_and_kind(client: httpx.AsyncClient) -> None:
    """WIRE §2.1: slot identity."""
    for other in ({}, {"environment_name": "staging"}, {"deployment_name": "pay/web/app"}, {"kind": "HELM_CHART"}):
        await client.post(RECORDS, json=report("a", **other), headers=BEARER)
    assert [slot["current"]["status"] for slot in await slots(client)] == ["DEPLOYED"] * 4


async def test_records_are_listed_in_pages_and_filtered(client: httpx.AsyncClient) -> None:
    """WIRE §2.2: filters, pages counted from 1, 0 tolerated."""
    for number in range(7):
        await client.post(RECORDS, json=report("a", deployment_name=f"pay/api-{number}/app"), headers=BEARER)
    await client.post(RECORDS, json=report("b", deployment_name="pay/api-0/app"), headers=BEARER)
    seen = []
    for page in (1, 2, 3):
        query = {"pagination.page": page, "pagination.page_size": 3}
        answer = (await client.get(RECORDS, params=query, headers=BEARER)).json()
        assert answer["pagination"] == {"total_count": 8, "page": page, "total_pages": 3, "page_size": 3}
        seen += [record["id"] for record in answer["deployment_records"]]
    assert len(set(seen)) == 8
    zero = (
        await client.get(RECORDS, params={"pagination.pageSize": 3, "pagination.page": 0}, headers=BEARER)
    ).json()
    assert [record["id"] for record in zero["deployment_records"]] == seen[:3]
    filters: list[tuple[dict[str, str], int]] = [
        ({"deployment_name": "pay/api-0/app"}, 2),
        ({"status": "SUPERSEDED", "project_name": "any"}, 1),
        ({"environmentName": "staging"}, 0),
        ({"kind": "CONTAINER_IMAGE", "status": "DEPLOYED"}, 7),
    ]
    for wanted, count in filters:
        found = (await client.get(RECORDS, params=wanted, headers=BEARER)).json()
        assert (wanted, found["pagination"]["total_count"]) == (wanted, count)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(["started 1"], ["1 started deployment"], id="open"),
        pytest.param(["started 1", "finished 1"], ["1 finished deployment live"], id="finished"),
        pytest.param(["started 1", "started 1", "failed 1"], ["1 failed deployment"], id="started twice, failed"),
        pytest.param(["started 1", "failed 1", "finished 1"], ["1 finished deployment live"], id="after all"),
        pytest.param(["finished 1"], ["1 finished deployment live"], id="a single finished"),
        pytest.param(
            ["finished 1", "started 1"],
            ["1 finished deployment live", "1 started redeployment"],
            id="redeployment",
        ),
        pytest.param(
            ["finished 1", "finished 2", "started 1"],
            ["1 finished deployment", "2 finished deployment live", "1 started rollback"],
            id="a rollback under way has rolled nothing back",
        ),
        pytest.param(
            ["finished 1", "finished 2", "failed 3", "started 1", "finished 1"],
            ["1 finished deployment", "2 finished rolledBack", "3 failed rolledBack", "1 finished rollback live"],
            id="rollback",
        ),
        pytest.param(["custom 1", "started 1", "custom 1"], ["1 started deployment"], id="custom changes nothing"),
    ],
)
async def test_deployments_from_events(client: httpx.AsyncClient, events: list[str], expected: list[str]) -> None:
    """WIRE §1.5: state derivation."""
    start = int(time.time() * 1000) - 60_000
    for second, said in enumerate(events):
        kind, version = said.split()
        answer = await client.post(EVENTS, json=event(kind, version, start + 1000 * second), headers=BARE)
        assert (answer.status_code, answer.json()) == (201, {})
    found = await rollouts(client)
    words = [f"{r['applicationVersion']} {r['status']} {r['kind']}{' live' if r['active'] else ''}" for r in found]
    assert words == expected


async def test_a_repeated_event_is_taken_once_and_raw_events_are_kept(client: httpx.AsyncClient) -> None:
    """WIRE §1.1: there is no idempotency key, the event itself is one."""
    said = [
        event("started", "1", 1000),
        event("finished", "1", 3000, eventMetadata={"pods": 3}),
        event("custom", "9", 1),
    ]
    for body in said * 2:
        await client.post(EVENTS, json=body, headers=BARE)
    answer = (await client.get("/api/tracker/v1/rollouts", headers=BEARER)).json()
    (found,) = answer["rollouts"]
    assert [(e["eventType"], e["eventTime"]) for e in found["events"]] == [("started", 1000), ("finished", 3000)]
    assert found["events"][1]["eventMetadata"] == {"pods": 3}
    assert found["durationMs"] == 2000
    assert [e["version"] for e in answer["unrelated_events"]] == ["9"]


async def test_deployments_are_walked_by_cursor(client: httpx.AsyncClient) -> None:
    """WIRE §1.2: limit, after, before, from, to, `_links.next`, totalCount; the 20 properties."""
    now = int(time.time() * 1000)
    ages = [0, 0, 0, 1000, 2000, 3000, 8 * 24 * 3600 * 1000]
    for number, age in enumerate(ages):
        await client.post(EVENTS, json=event("started", f"v{number}", now - age - 10), headers=BARE)
    await client.post(EVENTS, json=event("started", "1", now - 10, applicationKey="web"), headers=BARE)
    listing = httpx.URL(DEPLOYMENTS, params=SHOP | {"applicationKey": "api,worker", "limit": 2})
    href, pages = str(listing), []
    while href:
        answer = (await client.get(href, headers=BETA)).json()
        assert answer["totalCount"] == 6  # the default window is seven days
        pages.append(answer["items"])
        href = answer["_links"].get("next", {}).get("href", "")
    items = [item for page in pages for item in page]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [(i["startedAt"], i["id"]) for i in items] == sorted(
        ((i["startedAt"], i["id"]) for i in items), reverse=True
    )
    assert len(items[0]) == 20
    back = (await client.get(listing.copy_merge_params({"before": items[5]["id"]}), headers=BETA)).json()
    assert [item["id"] for item in back["items"]] == [items[3]["id"], items[4]["id"]]
    filters: list[tuple[dict[str, str], int]] = [
        ({}, 7),
        ({"from": "0"}, 8),
        ({"from": str(now - 2500), "to": str(now - 500)}, 2),
        ({"status": "failed"}, 0),
    ]
    for wanted, count in filters:
        found = (await client.get(DEPLOYMENTS, params=SHOP | wanted, headers=BETA)).json()
        assert (wanted, found["totalCount"]) == (wanted, count)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "said"),
    [
        ("POST", RECORDS, {}, {}, 401, {"code": 401, "reason": "UNAUTHORIZED"}),
        ("POST", RECORDS, BARE, {}, 401, {"code": 401}),
        ("GET", "/api/tracker/v1/slots", BARE, None, 401, {"code": 401}),
        ("POST", RECORDS, BEARER, report("a", "SUPERSEDED"), 400, {"code": 400, "reason": "invalid"}),
        ("POST", RECORDS, BEARER, report("a", "DEPLOYMENT_STATUS_UNSPECIFIED"), 400, {"code": 400}),
        ("POST", RECORDS, BEARER, report("g"), 400, {"code": 400}),
        ("POST", RECORDS, BEARER, [1], 400, {"message": "body: must be a JSON object"}),
        ("POST", RECORDS, BEARER, report("a", deployment_name="<\x00>"), 400, {"code": 400}),
        ("GET", f"{RECORDS}?pagination.page_size=101", BEARER, None, 400, {"code": 400}),
        ("GET", f"{RECORDS}?project_version_name=1", BEARER, None, 400, {"code": 400}),
        ("DELETE", RECORDS, BEARER, None, 405, {"code": 405, "metadata": {}}),
        ("GET", "/v1/nothing", BEARER, None, 404, {"code": 404, "reason": "not found"}),
        ("POST", RECORDS, BEARER, {"x": "y" * 2**20}, 413, {"code": 413}),
        ("POST", EVENTS, BEARER, {}, 401, {"code": "unauthorized", "message": "Invalid access token"}),
        ("POST", EVENTS, BARE, {"x": "y" * 2**20}, 413, {"code": "request_too_large"}),
        ("GET", EVENTS, BARE, None, 405, {"code": "method_not_allowed", "message": "Method not allowed"}),
        (
            "GET",
            "/api/v2/nothing",
            BARE,
            None,
            404,
            {"code": "not_found", "message": "Invalid resource identifier"},
        ),
        ("GET", f"{DEPLOYMENTS}?projectKey=p", BETA, None, 400, {"code": "invalid_request"}),
        (
            "POST",
            EVENTS,
            BARE,
            event("started", "a:b", 1) | {"projectKey": "", "eventTime": "1"},
            400,
            {
                "message": "validation failed",
                "errors": [
                    {"attribute": "projectKey", "reason": "must be present"},
                    {"attribute": "version", "reason": "string should match pattern '^[A-Za-z0-9._-]+$'"},
                    {"attribute": "eventTime", "reason": "input should be a valid integer"},
                ],
            },
        ),
    ],
)
async def test_errors_have_the_shape_of_their_api(  # noqa: PLR0913, PLR0917  the columns of a table
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str],
    body: Any,
    status: int,
    said: dict[str, Any],
) -> None:
    """WIRE §1.0 (errors), §2.4 (error encoding)."""
    answer = await client.request(method, path, headers=headers, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json() | said == answer.json()


async def test_the_beta_header_is_asked_for_by_the_list_only(client: httpx.AsyncClient) -> None:
    """WIRE §1.0: beta header, and its contradiction."""
    refused = await client.get(DEPLOYMENTS, params=SHOP, headers=BARE)
    message = "This API is in beta. To use it, your request must include the header `LD-API-Version: beta`."
    assert (refused.status_code, refused.json()) == (403, {"message": message})
    assert (await client.post(EVENTS, json=event("started", "1", 1), headers=BARE)).status_code == 201


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        ("{}", "text/plain", 415),
        ("{", "application/json", 400),
        ("\udc80", "application/json; charset=utf-8", 400),
    ],
)
async def test_only_json_is_read(client: httpx.AsyncClient, content: str, media_type: str, status: int) -> None:
    raw = content.encode("utf-8", "surrogateescape")
    for path, headers in ((RECORDS, BEARER), (EVENTS, BARE)):
        answer = await client.post(path, content=raw, headers=headers | {"Content-Type": media_type})
        assert answer.status_code == status


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
async def test_metadata_that_is_no_json_is_refused(client: httpx.AsyncClient, number: str) -> None:
    body = json.dumps(event("started", "1", 1, eventMetadata={"x": "@"})).replace('"@"', number)
    answer = await client.post(EVENTS, content=body, headers=BARE | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["attribute"]) == (400, "eventMetadata")


async def test_fifty_clients_in_one_slot_leave_one_deployed_and_a_complete_history(
    client: httpx.AsyncClient,
) -> None:
    bodies = [report("a") | {"artifact_digest": f"sha256:{number:064x}"} for number in range(50)]
    answers = await asyncio.gather(*(client.post(RECORDS, json=body, headers=BEARER) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    (slot,) = await slots(client)
    assert {r["artifact"]["digest"] for r in slot["history"]} == {body["artifact_digest"] for body in bodies}
    assert [r["status"] for r in slot["history"]] == ["SUPERSEDED"] * 49 + ["DEPLOYED"]
    assert [r["sequence"] for r in slot["history"]] == sorted(r["sequence"] for r in slot["history"])
    ids_answered = {answer.json()["deployment_record"]["id"] for answer in answers}
    assert ids_answered == {r["id"] for r in slot["history"]}


async def _start(folder: Path) -> tuple[Process, str]:
    """Start a tracker in a process of its own; its log says where it listens."""
    program = (
        "import asyncio, logging, pathlib, sys\n"
        "from rollbook.tracker.server import serve\n"
        "from rollbook.tracker.settings import TrackerSettings\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "database, token = map(pathlib.Path, sys.argv[1:])\n"
        "asyncio.run(serve(TrackerSettings(port=0, database=database, token_file=token)))\n"
    )
    settings = settings_in(folder)
    arguments = (sys.executable, "-c", program, str(settings.database), str(settings.token_file))
    process = await asyncio.create_subprocess_exec(*arguments, stderr=PIPE, env=os.environ)
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := (await process.stderr.readline()).decode():
            if found := re.search(r"listens on (\S+)", line):
                return process, found[1]
    raise AssertionError("the tracker ended before it listened")


async def test_what_was_accepted_survives_sigkill(tmp_path: Path) -> None:
    process, url = await _start(tmp_path)
    accepted: list[str] = []
    enough = asyncio.Event()

    async def post_for_ever(client: httpx.AsyncClient, worker: int) -> None:
        for number in range(100_000):
            name = f"pay/w{worker}-{number}/app"
            body = report("a", deployment_name=name)
            if (await client.post(f"{url}{RECORDS}", json=body, headers=BEARER)).status_code == 200:
                accepted.append(name)
            if len(accepted) >= 200:
                enough.set()

    async with httpx.AsyncClient() as client:
        posting = [asyncio.create_task(post_for_ever(client, worker)) for worker in range(8)]
        async with asyncio.timeout(60):
            await enough.wait()
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        for task in posting:
            with suppress(httpx.TransportError):
                await task
    async with tracker_in(tmp_path) as again:
        stored = {slot["deployment_name"] for slot in await slots(again)}
    assert len(accepted) >= 200
    assert set(accepted) - stored == set()


async def test_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    process, url = await _start(tmp_path)
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def test_an_address_in_use_is_a_configuration_error(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as first:
        settings = TrackerSettings(port=int(first.url.rpartition(":")[2]), database=tmp_path / "other.db")
        with pytest.raises(TrackerConfigError, match="address"):
            async with running(settings):
                pass


async def test_the_page_shows_what_runs_where(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    async with tracker_in(tmp_path, public_page=True) as client:
        await client.post(RECORDS, json=report("a"), headers=BEARER)
        await client.post(RECORDS, json=report("b", artifact_version=script), headers=BEARER)
        await client.post(RECORDS, json=report("c", environment_name="staging"), headers=BEARER)
        failure = {"reason": "ImagePullBackOff", "message": script}
        await client.post(EVENTS, json=event("started", "1.2", 1000, applicationName=script), headers=BARE)
        await client.post(EVENTS, json=event("failed", "1.2", 126_000, eventMetadata=failure), headers=BARE)
        overview = await client.get("/")
        history = (await client.get("/slots/production/CONTAINER_IMAGE/pay/api/app")).text
        filtered = (await client.get("/", params={"q": f'"{script}'})).text
        unknown = await client.get("/slots/production/CONTAINER_IMAGE/nothing")
    headings = re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', overview.text)
    assert headings[:3] == ["Application", "staging", "production"]
    for text in ("api</span>", "· pay</span>", "b" * 12, "v-c", ">Deployed<", ">Failed<", "2 min 5 s"):
        assert text in overview.text
    assert "ImagePullBackOff: &lt;script&gt;" in overview.text
    assert history.index("b" * 64) < history.index("a" * 64)
    assert ">Superseded<" in history
    assert all("<script" not in text for text in (overview.text, history, filtered))
    assert "default-src 'none'" in overview.headers["content-security-policy"]
    assert (unknown.status_code, "recorded" in unknown.text) == (404, True)


async def test_the_page_asks_for_the_token_unless_it_is_public(client: httpx.AsyncClient) -> None:
    asked = await client.get("/")
    assert (asked.status_code, asked.headers["www-authenticate"][:5]) == (401, "Basic")
    assert (await client.get("/", auth=("anyone", "wrong"))).status_code == 401
    assert (await client.get("/rollouts", auth=("anyone", TOKEN))).status_code == 200
