"""The runner of our applications: its options, and the way of a webhook past routing and middlewares."""

from collections.abc import Awaitable
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from billing_app.http.access_log import AccessLogger
from billing_app.settings.server import WEBHOOK_PATH

WEBHOOK_HANDLER: Final = web.AppKey[Handler]("webhook_handler")
"""The application's own handler of webhooks, with its middlewares around it, for requests that are not routed."""


async def set_up(app: web.Application, **options: Any) -> web.AppRunner:
    """Set up the runner of an application.

    A stream whose client has left ends at once, and no query string is logged. Webhooks are not routed: that takes a
    tenth of the server's processor time per webhook, and this is the one route whose throughput matters (ADR 51).
    """
    runner = web.AppRunner(app, **{"handler_cancellation": True, "access_log_class": AccessLogger, **options})
    await runner.setup()
    if runner.server is not None and WEBHOOK_HANDLER in app:
        runner.server.request_handler = _webhooks_first(app[WEBHOOK_HANDLER], runner.server.request_handler)
    return runner


def _webhooks_first(receive: Handler, route: Handler) -> Any:
    def handle(request: web.Request) -> Awaitable[web.StreamResponse]:
        if (
            request.rel_url.raw_path == WEBHOOK_PATH
            and request.method == hdrs.METH_POST
            and hdrs.EXPECT not in request.headers  # routing sends "100 Continue"
        ):
            return receive(request)
        return route(request)

    return handle
