"""A Django site with nothing but dj-stripe, as its documentation shows, for compare.py.

`python dj_stripe_site.py` brings the database up to date and prints the path of a webhook endpoint. gunicorn runs
`dj_stripe_site:application`.
"""

import os
import sys
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.urls import include, path

database = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="dj_stripe_site",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djstripe"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": database.hostname,
            "PORT": database.port,
            "NAME": database.path[1:],
            "USER": unquote(database.username or ""),
            "PASSWORD": unquote(database.password or ""),
            "CONN_MAX_AGE": None,
        }
    },
    STRIPE_API_HOST=os.environ.get("PEER_STRIPE", "http://127.0.0.1:1"),
    STRIPE_TEST_SECRET_KEY="sk_test_" + "benchmark" * 3,
    STRIPE_LIVE_MODE=False,
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
)
django.setup()
urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
application = WSGIHandler()

if __name__ == "__main__":
    sys.modules["dj_stripe_site"] = sys.modules["__main__"]
    call_command("migrate", verbosity=0)
    from djstripe.models import WebhookEndpoint

    endpoint = WebhookEndpoint.objects.create(
        id="we_benchmark",
        secret=os.environ["PEER_WEBHOOK_SECRET"],
        url="https://example.com",
        livemode=False,
        enabled_events=["*"],
        status="enabled",
    )
    print(f"/stripe/webhook/{endpoint.djstripe_uuid}/")
