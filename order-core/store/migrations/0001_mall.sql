-- Portable between SQLite and MySQL: BIGINT, VARCHAR, TEXT and BLOB only. Times are epoch milliseconds,
-- money is cents, flags are 0 or 1, ids are made by the application.

CREATE TABLE users (
    id BIGINT NOT NULL PRIMARY KEY,
    username VARCHAR(64) NOT NULL,
    username_key VARCHAR(64) NOT NULL UNIQUE,
    password_hash VARCHAR(100) NOT NULL,
    phone VARCHAR(32),
    blocked BIGINT NOT NULL,
    failed_sign_ins BIGINT NOT NULL,
    locked_until_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE sessions (
    id BIGINT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    token_hash VARCHAR(64) NOT NULL UNIQUE,
    previous_hash VARCHAR(64),
    expires_at_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_previous ON sessions (previous_hash);

CREATE TABLE admins (
    id BIGINT NOT NULL PRIMARY KEY,
    username VARCHAR(64) NOT NULL UNIQUE,
    password_hash VARCHAR(100) NOT NULL,
    role VARCHAR(16) NOT NULL,
    failed_sign_ins BIGINT NOT NULL,
    locked_until_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE addresses (
    id BIGINT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    recipient VARCHAR(64) NOT NULL,
    phone VARCHAR(32) NOT NULL,
    region VARCHAR(128) NOT NULL,
    detail VARCHAR(255) NOT NULL,
    is_default BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX addresses_by_user ON addresses (user_id);

CREATE TABLE categories (
    id BIGINT NOT NULL PRIMARY KEY,
    parent_id BIGINT,
    name VARCHAR(64) NOT NULL,
    sort_order BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    FOREIGN KEY (parent_id) REFERENCES categories (id)
);

CREATE TABLE products (
    id BIGINT NOT NULL PRIMARY KEY,
    category_id BIGINT NOT NULL,
    title VARCHAR(200) NOT NULL,
    subtitle VARCHAR(200) NOT NULL,
    description TEXT NOT NULL,
    image_ids TEXT NOT NULL,
    on_shelf BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    FOREIGN KEY (category_id) REFERENCES categories (id)
);
CREATE INDEX products_by_category ON products (category_id, id);

CREATE TABLE skus (
    id BIGINT NOT NULL PRIMARY KEY,
    product_id BIGINT NOT NULL,
    attributes TEXT NOT NULL,
    price_cents BIGINT NOT NULL CHECK (price_cents >= 0),
    stock BIGINT NOT NULL CHECK (stock >= 0),
    version BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    FOREIGN KEY (product_id) REFERENCES products (id)
);
CREATE INDEX skus_by_product ON skus (product_id, id);

CREATE TABLE cart_items (
    user_id BIGINT NOT NULL,
    sku_id BIGINT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    updated_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, sku_id),
    FOREIGN KEY (sku_id) REFERENCES skus (id)
);

-- What the admin wrote; `stock` was carved out of the SKU's.
CREATE TABLE activities (
    id BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    title VARCHAR(200) NOT NULL,
    sku_id BIGINT NOT NULL,
    price_cents BIGINT NOT NULL CHECK (price_cents >= 0),
    original_price_cents BIGINT NOT NULL CHECK (original_price_cents >= 0),
    stock BIGINT NOT NULL CHECK (stock >= 0),
    per_user_limit BIGINT NOT NULL CHECK (per_user_limit >= 1),
    starts_at_ms BIGINT NOT NULL CHECK (starts_at_ms >= 0),
    ends_at_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    CHECK (ends_at_ms > starts_at_ms),
    FOREIGN KEY (sku_id) REFERENCES skus (id)
);
CREATE INDEX activities_by_end ON activities (ends_at_ms);

-- The mirror of the stock ledgers, as of entry `seq` of the journal. No foreign key to activities:
-- a ledger whose activity is not known here is mirrored all the same, and its orders fail.
CREATE TABLE ledgers (
    activity_id BIGINT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    total BIGINT NOT NULL CHECK (total >= 0),
    stock_left BIGINT NOT NULL CHECK (stock_left >= 0),
    per_user_limit BIGINT NOT NULL,
    starts_at_ms BIGINT NOT NULL,
    ends_at_ms BIGINT NOT NULL,
    opened_at_ms BIGINT NOT NULL
);

-- The mirror of the ledgers' holds. `stock_taken` is 0 where the order failed for want of stock_left.
CREATE TABLE reservations (
    order_id BIGINT NOT NULL PRIMARY KEY,
    activity_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    request_key BLOB,
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    state VARCHAR(16) NOT NULL,
    stock_taken BIGINT NOT NULL,
    seq BIGINT NOT NULL
);
CREATE INDEX reservations_by_activity ON reservations (activity_id, order_id);

-- No foreign keys to users (a valid token is proof enough) or activities.
CREATE TABLE orders (
    id BIGINT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    activity_id BIGINT,
    status VARCHAR(20) NOT NULL,
    refund_from VARCHAR(20),
    total_cents BIGINT NOT NULL CHECK (total_cents >= 0),
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX orders_by_user ON orders (user_id, id);

CREATE TABLE order_lines (
    order_id BIGINT NOT NULL,
    line_no BIGINT NOT NULL,
    sku_id BIGINT NOT NULL,
    title VARCHAR(200) NOT NULL,
    price_cents BIGINT NOT NULL CHECK (price_cents >= 0),
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (order_id, line_no),
    FOREIGN KEY (order_id) REFERENCES orders (id)
);

CREATE TABLE payments (
    id BIGINT NOT NULL PRIMARY KEY,
    order_id BIGINT NOT NULL,
    method VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    amount_cents BIGINT NOT NULL CHECK (amount_cents >= 0),
    provider_trade_no VARCHAR(64) UNIQUE,
    created_at_ms BIGINT NOT NULL,
    notified_at_ms BIGINT,
    FOREIGN KEY (order_id) REFERENCES orders (id)
);
CREATE INDEX payments_by_order ON payments (order_id);

CREATE TABLE refunds (
    id BIGINT NOT NULL PRIMARY KEY,
    order_id BIGINT NOT NULL,
    payment_id BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    amount_cents BIGINT NOT NULL CHECK (amount_cents >= 0),
    reason VARCHAR(200) NOT NULL,
    created_at_ms BIGINT NOT NULL,
    FOREIGN KEY (order_id) REFERENCES orders (id),
    FOREIGN KEY (payment_id) REFERENCES payments (id)
);
CREATE INDEX refunds_by_order ON refunds (order_id);

-- What must reach the log because of a row that was committed with it.
CREATE TABLE outbox (
    id BIGINT NOT NULL PRIMARY KEY,
    topic VARCHAR(128) NOT NULL,
    record_key BLOB NOT NULL,
    record BLOB NOT NULL
);

-- What was taken in once and must not be taken in twice.
CREATE TABLE inbox (
    source VARCHAR(32) NOT NULL,
    subject_id BIGINT NOT NULL,
    message_id BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (source, subject_id, message_id)
);

-- First answers under an Idempotency-Key. `status` is 0 while the first request runs.
CREATE TABLE idempotency (
    scope VARCHAR(128) NOT NULL,
    request_key VARCHAR(128) NOT NULL,
    body_hash BLOB NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, request_key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at_ms);
