// The messages of the billing stream and the responses of `/state` and `/entitlements`, version 2. Generated from the
// payload classes; run `python -m billing_app.payload_schema` to regenerate it.
//
// Instants are ISO 8601 in UTC. Amounts are integers in the minor unit of their currency. Words such as `status` come
// from Stripe and are open sets: expect values that are not known yet, and ignore fields that are not listed here.

/** A known word, or one that a later version of the server adds. Editors complete the known ones. */
export type Word<Known extends string> = Known | (string & {});

/** Reasons of a verdict: a closed list. Most are the deciding subscription's status. */
export type AccessReason =
  | "trialing"
  | "active"
  | "past_due"
  | "unpaid"
  | "paused"
  | "incomplete"
  | "incomplete_expired"
  | "canceled"
  | "other_status"
  | "no_subscription"
  | "addon_only"
  | "collection_paused"
  | "past_due_grace_over"
  | "grace_over"
  | "scheduled_end_passed"
  | "trial_overdue"
  | "trial_never_paid"
  | "confirmation_overdue"
  | "unmapped_price"
  | "disputed"
  | "granted";

/** Degrees of access, from most to least; the best of a tenant's subscriptions counts. */
export type AccessState =
  | "full"
  | "grace"
  | "read_only"
  | "blocked";

/** The types of messages to tenants. A closed set: they name the stream's frames. */
export type BillingEventType =
  | "subscription.created"
  | "subscription.activated"
  | "subscription.renewed"
  | "subscription.recovered"
  | "subscription.past_due"
  | "subscription.unpaid"
  | "subscription.paused"
  | "subscription.resumed"
  | "subscription.plan_changed"
  | "subscription.seats_changed"
  | "subscription.plan_change_scheduled"
  | "subscription.cancellation_scheduled"
  | "subscription.cancellation_withdrawn"
  | "subscription.canceled"
  | "subscription.expired"
  | "subscription.trial_ending"
  | "subscription.updated"
  | "subscription.linked"
  | "subscription.unlinked"
  | "invoice.created"
  | "invoice.finalized"
  | "invoice.paid"
  | "invoice.payment_failed"
  | "invoice.payment_action_required"
  | "invoice.overdue"
  | "invoice.upcoming"
  | "invoice.voided"
  | "invoice.uncollectible"
  | "invoice.deleted"
  | "invoice.updated"
  | "invoice.refunded"
  | "invoice.disputed"
  | "invoice.dispute_closed"
  | "invoice.credited"
  | "entitlements.updated"
  | "usage.threshold_reached"
  | "access.changed"
  | "grant.added"
  | "grant.revoked"
  | "customer.linked"
  | "customer.unlinked"
  | "customer.deleted"
  | "withdrawn";

/** Reasons of a verdict on a feature: a closed list. The first two allow, the others refuse. */
export type FeatureReason =
  | "included"
  | "over_included"
  | "limit_reached"
  | "not_included"
  | "unknown_feature"
  | "access_read_only"
  | "access_blocked";

/** How current an answer is. */
export type Freshness =
  | "live"
  | "polled"
  | "stale";

/** One change to a tenant's billing. Sections that the event does not concern are null or empty. */
export interface BillingEventPayload {
  schema_version: number;
  sequence: number;
  tenant_id: string;
  event_type: Word<BillingEventType>;
  source: SourceSection;
  stripe_event_id: string | null;
  occurred_at: string;
  summary: string;
  status: string | null;
  subscription: SubscriptionSection | null;
  invoice: InvoiceSection | null;
  usage: UsageSection[];
  access: AccessSection;
  period: PeriodSection | null;
}

/** A tenant's whole state as of message `sequence`. Start a stream with `after` set to `position` to continue. */
export interface StatePayload {
  tenant_id: string;
  sequence: number;
  position: string;
  access: AccessSection;
  subscriptions: SubscriptionSection[];
  invoices: InvoiceSection[];
  usage: UsageSection[];
  features: string[];
  grants: GrantSection[];
}

/** A tenant's whole state, and what needs attention: only for the roles of BILLING_JWT_OPERATOR_ROLES. */
export interface OperatorStatePayload {
  tenant_id: string;
  sequence: number;
  position: string;
  access: AccessSection;
  subscriptions: SubscriptionSection[];
  invoices: InvoiceSection[];
  usage: UsageSection[];
  features: string[];
  grants: GrantSection[];
  attention: boolean;
  dead_events: number;
  uncertain: UncertainSection[];
  provisional: ProvisionalSection[];
}

/** Everything that a tenant may use, as of message `sequence`: each feature that a plan lists or the tenant has. */
export interface EntitlementsPayload {
  tenant_id: string;
  sequence: number;
  as_of: string;
  freshness: Word<Freshness>;
  access: AccessSection;
  features: FeatureSection[];
}

/** One feature of a tenant, as of message `sequence`. */
export interface EntitlementPayload {
  tenant_id: string;
  sequence: number;
  as_of: string;
  freshness: Word<Freshness>;
  access: AccessSection;
  entitlement: FeatureSection;
}

/** The cause of a message. */
export interface SourceSection {
  kind: string;
  id: string | null;
}

/** A whole subscription. `status` is the provider's word, verbatim; decide by `access`, not by `status`. */
export interface SubscriptionSection {
  subscription_id: string;
  customer_id: string;
  status: string;
  plan_code: string | null;
  price_id: string | null;
  seat_count: number | null;
  auto_renew: boolean;
  cancel_at_period_end: boolean;
  current_period_start: string | null;
  current_period_end: string | null;
  trial_ends_at: string | null;
  cancel_at: string | null;
  canceled_at: string | null;
  ended_at: string | null;
  collection_paused: boolean;
  currency: string | null;
  items: ItemSection[];
  interval: string | null;
  interval_count: number | null;
  unit_amount: number | null;
  unit_amount_decimal: string | null;
  collection_method: string | null;
  cancellation_reason: string | null;
  cancellation_feedback: string | null;
  scheduled_changes: ScheduledChangeSection[];
  default_payment_method: PaymentMethodSection | null;
}

/** A whole invoice, without its lines. */
export interface InvoiceSection {
  invoice_id: string;
  subscription_id: string | null;
  customer_id: string | null;
  number: string | null;
  status: string;
  amount_due: number;
  amount_paid: number;
  amount_remaining: number;
  total: number;
  tax: number;
  currency: string;
  billing_reason: string | null;
  collection_method: string | null;
  hosted_invoice_url: string | null;
  period_start: string | null;
  period_end: string | null;
  due_at: string | null;
  paid_at: string | null;
  attempt_count: number;
  next_payment_attempt_at: string | null;
  subtotal: number | null;
  created_at: string | null;
  finalized_at: string | null;
  invoice_pdf: string | null;
}

/** The usage of a metered feature that one invoice line billed. */
export interface UsageSection {
  feature_key: string;
  quantity: number;
  quantity_decimal: string | null;
  amount: number;
  currency: string;
  period_start: string | null;
  period_end: string | null;
  invoice_id: string;
  line_id: string;
}

/** The tenant's access (`full`, `grace`, `read_only` or `blocked`), the reason, and its end if that is known. */
export interface AccessSection {
  state: Word<AccessState>;
  reason: Word<AccessReason>;
  until: string | null;
}

/** The period of a renewal. `end` is null where the plan bills usage only and the period is not known yet. */
export interface PeriodSection {
  start: string;
  end: string | null;
}

/** Access to a plan that was granted beside what is paid for; without an end if `until` is null. */
export interface GrantSection {
  grant_id: string;
  plan_code: string;
  until: string | null;
  granted_at: string;
}

/** An object whose state may be wrong until it is fetched from Stripe. */
export interface UncertainSection {
  kind: string;
  object_id: string;
  complete: boolean;
  ambiguous: boolean;
}

/** An object that is shown as Stripe answered to an operation, until its events or a refetch arrive. */
export interface ProvisionalSection {
  kind: string;
  object_id: string;
  operation_key: string;
  shown: boolean;
  answered_at: string | null;
  refetch_due_at: string;
}

/** The answer to whether a tenant may use a feature, or so much more of it, at the instant of the request. */
export interface FeatureSection {
  feature: string;
  allowed: boolean;
  reason: Word<FeatureReason>;
  kind: string | null;
  limit: number | null;
  used: number | null;
  used_decimal: string | null;
  remaining: number | null;
  resets_at: string | null;
  sources: string[];
}

/** One price that a subscription bills. `quantity` is null for metered items. */
export interface ItemSection {
  item_id: string;
  price_id: string;
  quantity: number | null;
  usage_type: string;
  feature_key: string | null;
  current_period_start: string | null;
  current_period_end: string | null;
}

/** One thing that is going to happen to a subscription unless it is withdrawn. */
export interface ScheduledChangeSection {
  kind: string;
  effective_at: string | null;
  plan_code: string | null;
  price_id: string | null;
  quantity: number | null;
}

/** The details by which people recognize a payment method. Fields that do not apply are null. */
export interface PaymentMethodSection {
  type: string | null;
  brand: string | null;
  last4: string | null;
  exp_month: number | null;
  exp_year: number | null;
}
