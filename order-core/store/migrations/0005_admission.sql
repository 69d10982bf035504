-- Who may ask for units of a flash sale: nobody while it is paused, listed users only, with a ticket or a captcha.
ALTER TABLE activities ADD COLUMN paused BIGINT NOT NULL DEFAULT 0;
ALTER TABLE activities ADD COLUMN invited_only BIGINT NOT NULL DEFAULT 0;
ALTER TABLE activities ADD COLUMN door VARCHAR(16) NOT NULL DEFAULT 'open';

-- What was said of single users, the last word on each; `unlisted` takes an earlier word back. No foreign key to
-- users: a valid token is proof enough.
CREATE TABLE entry_rules (
    activity_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    entry VARCHAR(16) NOT NULL,
    PRIMARY KEY (activity_id, user_id),
    FOREIGN KEY (activity_id) REFERENCES activities (id)
);
