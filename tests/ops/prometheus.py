"""A Prometheus of a test's own, which scrapes real processes by our rules."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
from tests.integration.processes import answers
from tests.ops.conftest import OPS
from tests.patience import PATIENCE

from billing_embedded.loopback import free_port

_DURATION: Final = re.compile(r"(?<=for: )\d+[mhd]|(?<=interval: )\d+[mhd]|(?<=\[)\d+[mhd](?=\])|(?<=offset )\d+[mhd]")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}
_HASTE: Final = 30


def hastened(rules: str) -> str:
    """Return rules whose ranges and waits are shorter: two seconds stand for a minute. Limits of values stay."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[0][:-1]) * _SECONDS[found[0][-1]]
        return f"{math.ceil(seconds / _HASTE)}s"

    return _DURATION.sub(shorter, rules)


@attrs.frozen
class Prometheus:
    """A running Prometheus."""

    url: str
    session: aiohttp.ClientSession

    async def firing(self) -> Mapping[str, set[str]]:
        """Return the names of the alerts that fire now, by job."""
        found: dict[str, set[str]] = {}
        for alert in (await self._get("alerts"))["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"].get("job", ""), set()).add(alert["labels"]["alertname"])
        return found

    async def query(self, expression: str) -> list[Any]:
        """Return the series of an expression now."""
        answer = await self._get("query", query=expression)
        series: list[Any] = answer["result"]
        return series

    async def fired(self, expected: Mapping[str, set[str]]) -> None:
        """Wait until every job has had these alerts, which may end by themselves, and has no others."""
        missing = {job: set(alerts) for job, alerts in expected.items()}
        others: Mapping[str, set[str]] = expected
        try:
            async with asyncio.timeout(PATIENCE):
                while any(missing.values()) or any(others.values()):
                    await asyncio.sleep(0.5)
                    firing = await self.firing()
                    missing = {job: alerts - firing.get(job, set()) for job, alerts in missing.items()}
                    others = {job: firing.get(job, set()) - alerts for job, alerts in expected.items()}
        except TimeoutError:
            raise TimeoutError(f"missing: {missing}, others: {others}") from None

    async def scraped(self, jobs: Collection[str]) -> None:
        """Wait until every job was scraped."""

        async def up() -> set[str]:
            return {each["metric"]["job"] for each in await self.query("up == 1")}

        async with asyncio.timeout(PATIENCE):
            while await up() != set(jobs):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.2)

    async def _get(self, path: str, **parameters: str) -> Any:
        async with self.session.get(f"{self.url}/api/v1/{path}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", answer
        return answer["data"]


@asynccontextmanager
async def scraping(program: Path, folder: Path, ports: Mapping[str, int]) -> AsyncIterator[Prometheus]:
    """Scrape the metrics at each port every second, as a job of its name, and evaluate our rules as often."""
    rules = (OPS / "prometheus/billing.rules.yml").read_text(encoding="utf-8")
    (folder / "billing.rules.yml").write_text(hastened(rules), encoding="utf-8")
    jobs = [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in ports.items()]
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["billing.rules.yml"],
        "scrape_configs": jobs,
    }
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *(program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address={address}", "--log.level=warn"),
    )
    try:
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(PATIENCE):
                while not await answers(session, f"http://{address}/-/ready"):
                    assert process.returncode is None, "Prometheus ended instead of starting"
                    await asyncio.sleep(0.1)
            yield Prometheus(f"http://{address}", session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
