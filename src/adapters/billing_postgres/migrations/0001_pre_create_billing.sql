-- Everything the loop stores. The tables every event writes to carry no foreign keys: each is written in one statement
-- or transaction with what it refers to, and a trigger per row would be paid for each time.
-- Text for the provider's status words: an unknown one is kept, never refused.
-- Ids collate as "C": they are compared byte by byte, in the same order as by the code, whatever the database's locale.

-- Tenants and their message counters. The row lock of a tenant orders everything that happens to it.
CREATE TABLE billing_tenants (
    tenant_id  text COLLATE "C" PRIMARY KEY,
    sequence   bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Plans as configured, mirrored for SQL users.
CREATE TABLE billing_plans (
    plan_code   text COLLATE "C" NOT NULL,
    price_id    text COLLATE "C" PRIMARY KEY,
    role        text NOT NULL CHECK (role IN ('base', 'seat', 'metered')),
    feature_key text,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- The only authority on whose customer is whose. tenant_id is null while nobody has said; once set it never changes.
CREATE TABLE billing_customers (
    customer_id text COLLATE "C" PRIMARY KEY,
    tenant_id   text COLLATE "C" REFERENCES billing_tenants,
    email       text,
    name        text,
    delinquent  boolean NOT NULL DEFAULT false,
    deleted     boolean NOT NULL DEFAULT false,
    observed_at timestamptz,
    event_ids   text[] NOT NULL DEFAULT '{}',
    ambiguous   boolean NOT NULL DEFAULT false,
    linked_at   timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX billing_customers_tenant ON billing_customers (tenant_id);

CREATE TABLE tenant_subscriptions (
    subscription_id      text COLLATE "C" PRIMARY KEY,
    tenant_id            text COLLATE "C" NOT NULL REFERENCES billing_tenants,
    customer_id          text COLLATE "C" NOT NULL,
    status               text NOT NULL,
    ended                boolean NOT NULL,
    plan_code            text COLLATE "C",
    price_id             text COLLATE "C",
    seat_count           bigint,
    currency             text,
    cancel_at_period_end boolean NOT NULL,
    cancel_at            timestamptz,
    canceled_at          timestamptz,
    ended_at             timestamptz,
    trial_ends_at        timestamptz,
    collection_paused    boolean NOT NULL,
    collection_method    text,
    current_period_start timestamptz,
    current_period_end   timestamptz,
    metered_prices       jsonb NOT NULL DEFAULT '{}',  -- price → feature, of every metered item it ever had
    observed_at          timestamptz NOT NULL,
    event_ids            text[] NOT NULL,
    ambiguous            boolean NOT NULL DEFAULT false,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenant_subscriptions_tenant ON tenant_subscriptions (tenant_id);

-- Keyed below its subscription: an item id from elsewhere can then never reach another tenant's row.
CREATE TABLE subscription_items (
    subscription_id      text COLLATE "C" NOT NULL REFERENCES tenant_subscriptions ON DELETE CASCADE,
    item_id              text COLLATE "C" NOT NULL,
    price_id             text COLLATE "C" NOT NULL,
    product_id           text,
    lookup_key           text,
    usage_type           text NOT NULL,
    quantity             bigint,
    feature_key          text,
    current_period_start timestamptz,
    current_period_end   timestamptz,
    PRIMARY KEY (subscription_id, item_id)
);

-- No reference to the subscription: an invoice may arrive first.
CREATE TABLE subscription_invoices (
    invoice_id              text COLLATE "C" PRIMARY KEY,
    tenant_id               text COLLATE "C" NOT NULL REFERENCES billing_tenants,
    subscription_id         text COLLATE "C",
    customer_id             text COLLATE "C",
    number                  text,
    status                  text NOT NULL,
    currency                text NOT NULL,
    amount_due              bigint NOT NULL,
    amount_paid             bigint NOT NULL,
    amount_remaining        bigint NOT NULL,
    total                   bigint NOT NULL,
    tax                     bigint NOT NULL,
    billing_reason          text,
    collection_method       text,
    hosted_invoice_url      text,
    period_start            timestamptz,
    period_end              timestamptz,
    due_at                  timestamptz,
    paid_at                 timestamptz,
    attempt_count           bigint NOT NULL,
    next_payment_attempt_at timestamptz,
    lines                   jsonb NOT NULL DEFAULT '[]',
    lines_complete          boolean NOT NULL,
    observed_at             timestamptz NOT NULL,
    event_ids               text[] NOT NULL,
    ambiguous               boolean NOT NULL DEFAULT false,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX subscription_invoices_tenant ON subscription_invoices (tenant_id, period_end DESC NULLS LAST, invoice_id DESC);
CREATE INDEX subscription_invoices_subscription ON subscription_invoices (subscription_id);

-- Billed usage in absolute values, one row per invoice line.
CREATE TABLE subscription_usage (
    invoice_id      text COLLATE "C" NOT NULL,
    line_id         text COLLATE "C" NOT NULL,
    tenant_id       text COLLATE "C" NOT NULL REFERENCES billing_tenants,
    subscription_id text COLLATE "C",
    feature_key     text NOT NULL,
    quantity        bigint NOT NULL,
    amount          bigint NOT NULL,
    currency        text NOT NULL,
    period_start    timestamptz,
    period_end      timestamptz,
    PRIMARY KEY (invoice_id, line_id)
);
CREATE INDEX subscription_usage_tenant ON subscription_usage (tenant_id, period_end DESC NULLS LAST);

-- The inbox. Small rows that are kept, so that a late duplicate is still recognised; bodies are apart and may go.
CREATE TABLE stripe_events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account       text COLLATE "C" NOT NULL,
    livemode      boolean NOT NULL,
    event_id      text COLLATE "C" NOT NULL,
    type          text NOT NULL,
    api_version   text,
    created_at    timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    body_sha256   bytea,  -- written when the body goes
    secret_slot   smallint NOT NULL,
    UNIQUE (event_id, livemode, account)
);
CREATE INDEX stripe_events_received ON stripe_events USING brin (received_at);

-- bytea, not jsonb: the signature covers these bytes, and jsonb refuses some that are valid events.
CREATE TABLE stripe_event_bodies (
    event bigint PRIMARY KEY,
    body  bytea NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE stripe_event_bodies ALTER COLUMN body SET STORAGE EXTERNAL;

-- How far each event has been processed.
CREATE TABLE stripe_event_dispatch (
    event       bigint PRIMARY KEY,
    status      text NOT NULL DEFAULT 'due'
                CHECK (status IN ('due', 'leased', 'applied', 'ignored', 'parked', 'dead')),
    due_at      timestamptz NOT NULL DEFAULT now(),  -- while leased: when the lease runs out
    attempt     int NOT NULL DEFAULT 0,
    effect      text CHECK (effect IN ('changed', 'confirmed', 'stale')),
    reason      text,
    error       text,
    parked_on   text COLLATE "C",
    tenant_id   text COLLATE "C",
    sequence    bigint,
    first_error text,
    finished_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX stripe_event_dispatch_due ON stripe_event_dispatch (due_at) WHERE status IN ('due', 'leased');
CREATE INDEX stripe_event_dispatch_parked ON stripe_event_dispatch (parked_on) WHERE status = 'parked';
CREATE INDEX stripe_event_dispatch_dead ON stripe_event_dispatch (reason) WHERE status = 'dead';

-- The numbered history of each tenant. json, not jsonb: the text goes to clients exactly as encoded.
CREATE TABLE billing_events (
    tenant_id   text COLLATE "C" NOT NULL,
    sequence    bigint NOT NULL CHECK (sequence > 0),
    event_type  text NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    payload     json NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);
CREATE INDEX billing_events_event ON billing_events (event_id);

-- What the bus has not confirmed yet: one row per message, gone once it is published.
CREATE TABLE billing_outbox (
    tenant_id    text COLLATE "C" NOT NULL,
    sequence     bigint NOT NULL,
    committed_at timestamptz NOT NULL,  -- taken under the tenant's lock, so that it rises with the number
    PRIMARY KEY (tenant_id, sequence)
);
CREATE INDEX billing_outbox_waiting ON billing_outbox (committed_at);
