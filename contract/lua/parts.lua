-- The parts of a ledger beside its counters. Each exists from the opening on, so a part that is missing was lost:
-- it was deleted, or evicted by a full server. Orders, requests, users and restocks have a member MARK, without
-- which Redis would delete them when they become empty; the outbox is trimmed, never deleted.
local MARK = 'mark'

-- The run of a ledger that answers nobody: closed for a new term, and rebuilt in it but not opened yet.
local CLOSED, REBUILT = 'closed', 'rebuilt'

