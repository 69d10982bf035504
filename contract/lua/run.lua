-- The id of this server's run; a restart makes a new one. A caller that knows it already sends it, since asking costs.
local function run_id(known)
    if known ~= '' then return known end
    return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

