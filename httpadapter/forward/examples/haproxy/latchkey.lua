-- Asks latchkey whether a request may pass. See haproxy.cfg, which denies every request for which this file does not
-- set txn.latchkey_allowed: HAProxy goes on with a request if an action in Lua fails.

local url = os.getenv("LATCHKEY_URL")
if url == nil then
	error("set LATCHKEY_URL with setenv before lua-load")
end
local identity = { "owner", "token", "kind", "client", "roles", "rows" }

-- Headers of the caller that are not passed on to latchkey: those of the connection and the body, and those that are
-- set here.
local dropped = {
	["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["upgrade"] = true, ["te"] = true,
	["trailer"] = true, ["transfer-encoding"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
	["http2-settings"] = true, ["x-forwarded-for"] = true, ["x-forwarded-host"] = true, ["x-forwarded-method"] = true,
	["x-forwarded-uri"] = true,
}

-- values returns the values of a header as an array. HAProxy counts them from 0.
local function values(of)
	local list = {}
	local i = 0
	while of[i] ~= nil do
		list[#list + 1] = of[i]
		i = i + 1
	end
	return list
end

-- first returns the only value of a header of the reply, or nil.
local function first(headers, name)
	local of = headers and headers[name]
	if of == nil or of[0] == nil or of[1] ~= nil then
		return nil
	end
	return of[0]
end

local function refuse(txn, status, headers, body)
	local reply = txn:reply({ status = status })
	for _, name in ipairs({ "content-type", "www-authenticate", "retry-after", "ratelimit", "ratelimit-policy" }) do
		for _, value in ipairs(values(headers and headers[name] or {})) do -- a challenge for each carrier of keys
			reply:add_header(name, value)
		end
	end
	reply:add_header("cache-control", "no-store")
	reply:set_body(body or "")
	txn:done(reply)
end

core.register_action("latchkey", { "http-req" }, function(txn)
	txn:set_var("txn.latchkey_allowed", "no")
	local headers = {}
	for name, of in pairs(txn.http:req_get_headers()) do
		if not dropped[name] then
			headers[name] = values(of)
		end
	end
	local host = txn.sf:req_fhdr("host")
	headers["x-forwarded-for"] = { txn.sf:src() }
	headers["x-forwarded-host"] = { host }
	headers["x-forwarded-method"] = { txn.sf:method() }
	headers["x-forwarded-uri"] = { txn.sf:pathq() }

	local response = core.httpclient():get({ url = url, headers = headers, timeout = 10000 })
	if response == nil or response.status == nil or response.status < 200 or response.status > 599 then
		refuse(txn, 503, nil, nil)
		return
	end
	if response.status ~= 200 then
		local status = response.status
		if status < 400 then -- latchkey sends none
			status = 503
		end
		refuse(txn, status, response.headers, response.body)
		return
	end
	for _, name in ipairs(identity) do
		local value = first(response.headers, "latchkey-" .. name)
		if value == nil then -- the answer is not latchkey's
			refuse(txn, 503, nil, nil)
			return
		end
		txn:set_var("txn.latchkey_" .. name, value)
	end
	txn:set_var("txn.latchkey_allowed", "yes")
end, 0)
