-- The parts of a ledger beside its counters. Each exists from the opening on, so a part that is missing was lost:
-- it was deleted, or evicted by a full server. Orders, requests, users and restocks have a member MARK, without
-- which Redis would delete them when they become empty; the outbox is trimmed, never deleted. Ledgers of an
-- earlier version have no field MARK, and their parts may be missing as long as they are empty.
local MARK = 'mark'

