-- The unpaid orders of a user are counted whenever the user places an order.
CREATE INDEX orders_by_user_status ON orders (user_id, status);
