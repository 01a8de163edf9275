-- The exact quantity beside its integer, which is all that processes of earlier releases read and write: where the two
-- disagree the integer is newer.
ALTER TABLE subscription_usage ADD COLUMN quantity_decimal numeric;
