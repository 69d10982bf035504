-- Only users who registered before this instant may take part in a sale. NULL: all users.
ALTER TABLE activities ADD COLUMN registered_before_ms BIGINT;
