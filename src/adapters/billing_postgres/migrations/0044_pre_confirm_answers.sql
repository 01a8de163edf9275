-- Whether an event of the operation has shown the same as its answer, which stays until others of its events cannot follow.
ALTER TABLE provisional_views ADD COLUMN confirmed boolean NOT NULL DEFAULT false;
