-- The default payment method of a customer, which is charged for subscriptions without one of their own.
ALTER TABLE billing_customers ADD COLUMN payment_method_id text COLLATE "C";
