-- Lists of features that lack some, and those of which it is open which was the last, are found without reading all.
CREATE INDEX billing_records_doubtful ON billing_records (object_id)
    WHERE kind = 'entitlements' AND (ambiguous OR data ->> 'complete' = 'false');
