-- The extension of HAProxy for Backout: compare-and-set of server weights, and
-- their history for as long as the process lives. HAProxy 2.6 or newer.
--
--   global
--     setenv BACKOUT_TOKEN_FILE /etc/haproxy/backout.token
--     setenv BACKOUT_BACKENDS "shop checkout"
--     lua-load /etc/haproxy/backout.lua
--
-- The token, one line of a file, is what changes need; the backends are those that
-- may be changed. HAProxy reads all of it when it starts.
--
-- It adds three commands to the runtime socket, at every level:
--
--   backout read <backend>        balancing algorithm and history
--   backout may <token>           whether the token is the right one
--   backout swap <token> <key> <backend>[/<server>] <from> <to>
--
-- A state is spelled "blue=100,green=0/maint", with servers in the order of
-- their names; "/drain" is left out where the weight is 0.

-- HAProxy may interrupt a script that runs for longer than 10,000 instructions
-- (tune.lua.forced-yield). Comparing and setting must stay below that.
local most_servers = 64

-- How many states of each backend are remembered, and how often they are read, in
-- milliseconds.
local most_states = 64
local interval = 1000

local function read_token(path)
  local file = path and io.open(path, "r")
  local token = file and file:read("l")
  if file then file:close() end
  if not token or #token < 16 then
    error("backout.lua: BACKOUT_TOKEN_FILE must name a file that holds a token of 16 characters or more")
  end
  return token
end

local token = read_token(os.getenv("BACKOUT_TOKEN_FILE"))
local history = {}
for name in (os.getenv("BACKOUT_BACKENDS") or ""):gmatch("%S+") do history[name] = {} end

-- draining is a number in some versions of HAProxy, and 0 is true in Lua.
local function draining(server)
  local is = server:is_draining()
  return is == true or is == 1
end

-- shown is the weight and the administrative state of one server.
local function shown(server)
  local weight = math.tointeger(tonumber(server:get_weight()))
  if server:get_stats().status == "MAINT" then return weight .. "/maint" end
  if weight > 0 and draining(server) then return weight .. "/drain" end
  return tostring(weight)
end

-- names lists the servers of a backend, or the one that is asked for.
local function names(backend, only)
  local list = {}
  for name in pairs(backend.servers) do
    if not only or name == only then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function state(backend, list)
  local parts = {}
  for n, name in ipairs(list) do parts[n] = name .. "=" .. shown(backend.servers[name]) end
  return table.concat(parts, ",")
end

local function remember(name, text, author, key)
  local states, now = history[name], core.now()
  states[#states + 1] = { at = string.format("%d.%06d", now.sec, now.usec), text = text, author = author, key = key }
  if #states > most_states then table.remove(states, 1) end
end

-- sample notes the state of a backend if it is another than the last.
local function sample(name)
  local backend = core.backends[name]
  if not backend then return end
  local list, states = names(backend), history[name]
  if #list > most_servers then return end
  local text = state(backend, list)
  if #states == 0 or states[#states].text ~= text then remember(name, text, "-", "-") end
end

-- put gives one server a weight and an administrative state. It returns an error
-- of HAProxy, or nil.
local function put(server, wanted)
  local weight, admin = wanted:match("^(%d+)/?(%a*)$")
  local problem = server:set_weight(weight)
  if problem then return problem end
  if admin == "maint" then server:set_maint()
  elseif admin == "drain" then server:set_drain()
  else server:set_ready() end
end

local function parse(text)
  local wanted = {}
  for name, value in text:gmatch("([^=,]+)=([^=,]+)") do
    if not value:match("^%d+$") and not value:match("^%d+/maint$") and not value:match("^%d+/drain$") then return nil end
    wanted[name] = value
  end
  return wanted
end

local function swap(given, key, target, from, to)
  if given ~= token then return "denied" end
  local name, only = target:match("^([^/]+)/?(.*)$")
  if only == "" then only = nil end
  local backend = name and core.backends[name]
  if not backend or not history[name] then return "unknown" end
  sample(name)
  local list, wanted = names(backend, only), parse(to)
  if not wanted or #list == 0 or #list > most_servers then return "invalid" end
  for _, server in ipairs(list) do
    if not wanted[server] then return "invalid" end
  end
  local changed_back = false
  for _, s in ipairs(history[name]) do changed_back = changed_back or s.key == key end

  -- From here to the last put nothing else of this thread runs.
  local servers, before = backend.servers, {}
  for n, server in ipairs(list) do before[n] = shown(servers[server]) end
  local parts = {}
  for n, server in ipairs(list) do parts[n] = server .. "=" .. before[n] end
  local present = table.concat(parts, ",")
  if present == to then return "there" end
  if present ~= from then return "moved" end
  if changed_back then return "back" end
  -- What gets more traffic comes first, so that some server always takes it.
  local order = {}
  for n, server in ipairs(list) do
    if before[n] ~= wanted[server] then
      local more = tonumber(wanted[server]:match("^%d+")) > tonumber(before[n]:match("^%d+"))
      table.insert(order, more and 1 or #order + 1, n)
    end
  end
  for at, n in ipairs(order) do
    local problem = put(servers[list[n]], wanted[list[n]])
    if problem then
      for again = 1, at - 1 do put(servers[list[order[again]]], before[order[again]]) end
      return "failed " .. problem:gsub("%s+", " ")
    end
  end
  remember(name, state(backend, names(backend)), "backout", key)
  return "swapped"
end

core.register_cli({ "backout", "swap" }, "backout swap <token> <key> <target> <from> <to> : set weights if they are <from>", function(applet, _, _, given, key, target, from, to)
  if not to then applet:send("invalid\n") return end
  applet:send(swap(given, key, target, from, to) .. "\n")
end)

core.register_cli({ "backout", "may" }, "backout may <token> : say whether the token is the right one", function(applet, _, _, given)
  applet:send((given == token and "yes" or "no") .. "\n")
end)

core.register_cli({ "backout", "read" }, "backout read <backend> : show the history of the weights", function(applet, _, _, name)
  if not name or not core.backends[name] or not history[name] then applet:send("unknown\n") return end
  sample(name)
  applet:send("algorithm " .. tostring(core.backends[name]:get_stats().algo) .. "\n")
  for _, s in ipairs(history[name]) do
    applet:send("state " .. s.at .. " " .. s.author .. " " .. s.text .. "\n")
  end
end)

core.register_task(function()
  while true do
    for name in pairs(history) do sample(name) end
    core.msleep(interval)
  end
end)
