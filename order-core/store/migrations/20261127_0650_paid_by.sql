-- Which payment paid an order, and what a refund is for: `order` gives the money of an order back; `twice` and `late`
-- give back money that came for an order that was paid already, or could not be paid any more.
ALTER TABLE orders ADD COLUMN paid_by BIGINT;
ALTER TABLE refunds ADD COLUMN purpose VARCHAR(16) NOT NULL DEFAULT 'order';

-- Until now a refund without a buyer's request had this reason, and the time at which its money was reported.
UPDATE refunds SET purpose = 'twice'
WHERE reason = 'there was nothing to be paid any more'
  AND created_at_ms = (SELECT p.notified_at_ms FROM payments p WHERE p.id = refunds.payment_id);
UPDATE refunds SET purpose = 'late'
WHERE purpose = 'twice' AND order_id IN (SELECT o.id FROM orders o WHERE o.status IN ('closed', 'failed'));

-- The money that did not go back by itself paid the order. Where that is not one payment, nothing is known.
UPDATE orders SET paid_by = (
    SELECT CASE WHEN COUNT(*) = 1 THEN MIN(p.id) END FROM payments p
    WHERE p.order_id = orders.id AND p.status IN ('succeeded', 'refunded')
      AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.payment_id = p.id AND r.purpose <> 'order')
)
WHERE status IN ('paid', 'shipped', 'completed', 'refunding', 'refunded');

-- A request could name money that was on its way back already. It is for the money that paid its order.
UPDATE refunds SET payment_id = (SELECT o.paid_by FROM orders o WHERE o.id = refunds.order_id)
WHERE purpose = 'order' AND status IN ('requested', 'approved')
  AND payment_id <> (SELECT o.paid_by FROM orders o WHERE o.id = refunds.order_id);
