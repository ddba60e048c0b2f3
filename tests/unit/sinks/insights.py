"""LaunchDarkly's side of *create deployment event* and *list deployments*, as far as WIRE §1 tells it."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.unit.sinks.builders import TOKEN
from tests.unit.sinks.server import Behaviour, Heard, reply

EVENTS = "/api/v2/engineering-insights/deployment-events"
DEPLOYMENTS = "/api/v2/engineering-insights/deployments"


@dataclass(slots=True)
class Insights:
    """Keeps deployments; what goes wrong on the way is the test's doing."""

    page_size: int = 100
    deployments: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    lists: list[dict[str, str]] = field(default_factory=list)

    def lost_answer(self) -> Behaviour:
        """Take the next event, and hang up before it is answered."""

        async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
            self._take(heard.json())
            writer.close()

        return answer

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        """Answer as documented."""
        await self._route(heard)(heard, writer)

    def _route(self, heard: Heard) -> Behaviour:
        if heard.headers.get("authorization") != TOKEN:
            return reply(401, {"code": "unauthorized", "message": "Invalid access token"})
        if (heard.method, heard.path) == ("POST", EVENTS):
            self._take(heard.json())
            return reply(201, {})
        if (heard.method, heard.path) == ("GET", DEPLOYMENTS):
            if heard.headers.get("ld-api-version") != "beta":
                return reply(403, {"message": "must include the header `LD-API-Version: beta`."})
            return reply(200, self._list(heard.query))
        return reply(404, {"code": "not_found", "message": "Invalid resource identifier"})

    def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        open_one = next((found for found in self.deployments if self._continues(found, event)), None)
        if event["eventType"] == "started" or open_one is None:
            open_one = self._begin(event)
        if event["eventType"] != "started":
            open_one.update(status=event["eventType"], endedAt=event["eventTime"])

    def _continues(self, found: dict[str, Any], event: dict[str, Any]) -> bool:
        same = found["applicationKey"], found["environmentKey"], found["applicationVersion"]
        wanted = event["applicationKey"], event["environmentKey"], event["version"]
        return same == wanted and found["endedAt"] is None

    def _begin(self, event: dict[str, Any]) -> dict[str, Any]:
        made = {
            "id": str(uuid.uuid4()),
            "applicationKey": event["applicationKey"],
            "applicationVersion": event["version"],
            "environmentKey": event["environmentKey"],
            "startedAt": event["eventTime"],
            "endedAt": None,
            "status": "started",
            "kind": "deployment",
            "active": True,
            "archived": False,
            "leadTime": 0,
        }
        self.deployments.insert(0, made)
        return made

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        self.lists.append(query)
        applications = query["applicationKey"].split(",")
        matching = [
            found
            for found in self.deployments
            if found["applicationKey"] in applications
            and found["environmentKey"] == query["environmentKey"]
            and found["startedAt"] >= int(query["from"])
        ]
        after = query.get("after")
        start = next((at for at, found in enumerate(matching, 1) if found["id"] == after), 0)
        page = matching[start : start + min(self.page_size, int(query["limit"]))]
        links = {"self": {"href": DEPLOYMENTS, "type": "application/json"}}
        if start + len(page) < len(matching):
            href = f"https://elsewhere.test{DEPLOYMENTS}?{urlencode({'after': page[-1]['id']})}"
            links["next"] = {"href": href, "type": "application/json"}
        return {"totalCount": len(matching), "items": page, "_links": links}
