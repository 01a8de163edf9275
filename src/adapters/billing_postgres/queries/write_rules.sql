-- Put rules in force.

-- name: activate_rules
-- Two processes that read the same rules in force want the same number: one of them gets it.
-- Args: $1 generation, $2 fingerprint, $3 document, $4 who activates them. Returns: the generation, if it was the next one.
INSERT INTO billing_rules (generation, fingerprint, document, actor)
SELECT $1::bigint, $2, $3::json, $4
WHERE $1::bigint = (SELECT coalesce(max(generation), 0) + 1 FROM billing_rules)
ON CONFLICT (generation) DO NOTHING
RETURNING generation;
