"""The configuration of one process: a section per consumer, read once at start, all faults reported together.

A section declares its variables with their defaults and help in one place. A section that configures a policy of the
domain is a subclass of it: the policy's defaults apply, and its other fields cannot be configured.
"""

from billing_app.secret import Secret
from billing_app.settings.access import AccessSettings
from billing_app.settings.catalog import CatalogSettings
from billing_app.settings.declaration import Setting
from billing_app.settings.demo import DemoSettings
from billing_app.settings.entitlements import EntitlementSettings
from billing_app.settings.faults import DOCUMENTATION, ENV_FILE, RULES_FILE, SettingsError, SettingsFault
from billing_app.settings.for_tests import TEST_WEBHOOK_SECRET, RunningStripe
from billing_app.settings.gateway import GatewaySettings
from billing_app.settings.inbox import InboxSettings
from billing_app.settings.logs import LogSettings
from billing_app.settings.outgoing import OutgoingSettings
from billing_app.settings.processing import DispatchSettings, PublishSettings, RetentionSettings
from billing_app.settings.server import ServerSettings
from billing_app.settings.settings import Section, Settings, declared_sections
from billing_app.settings.stores import DatabaseSettings, EmbeddedSettings, RedisSettings
from billing_app.settings.stream import QuotaSettings, StreamSettings
from billing_app.settings.stripe import StripeSettings
from billing_app.settings.switches import Switches
from billing_app.settings.tokens import TokenSettings
from billing_app.settings.tracing import TracingSettings
from billing_app.settings.webhooks import WebhookSettings

__all__ = [
    "DOCUMENTATION",
    "ENV_FILE",
    "AccessSettings",
    "CatalogSettings",
    "DatabaseSettings",
    "DemoSettings",
    "DispatchSettings",
    "EmbeddedSettings",
    "EntitlementSettings",
    "GatewaySettings",
    "OutgoingSettings",
    "InboxSettings",
    "LogSettings",
    "PublishSettings",
    "QuotaSettings",
    "RULES_FILE",
    "RedisSettings",
    "RetentionSettings",
    "RunningStripe",
    "Secret",
    "Section",
    "ServerSettings",
    "Setting",
    "Settings",
    "SettingsError",
    "SettingsFault",
    "StreamSettings",
    "StripeSettings",
    "Switches",
    "TEST_WEBHOOK_SECRET",
    "TokenSettings",
    "TracingSettings",
    "WebhookSettings",
    "declared_sections",
]
