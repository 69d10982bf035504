CREATE INDEX refunds_by_status ON refunds (status, id);
