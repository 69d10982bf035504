-- Whether somebody else chose the account's password. Its owner then replaces it before the admin pages show anything.
ALTER TABLE admins ADD COLUMN must_change_password BIGINT NOT NULL DEFAULT 0;
