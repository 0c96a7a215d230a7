# Varnish Cache 7.1 or later in front of imagecdn, with vmod xkey, which is in the package varnish-modules.
#
# Change the backend and the two lists of addresses, and start varnishd with -f imagecdn.vcl. Without varnish-modules take out the lines
# between "xkey:" and "end" and use the adapter's Options.Bans: tags are then found by bans, more slowly.
#
#	curl -X PURGE -H 'Host: www.example.com' 'http://varnish:6081/img/photos/cat.jpg?w=100'   one URL, all variants of Accept
#	curl -X PURGE -H 'xkey-purge: TAG TAG' http://varnish:6081/                              what has one of the tags
#	curl -X BAN   -H 'x-ban: obj.http.x-url ~ ^/img/photos/' http://varnish:6081/            what matches
#
# xkey-softpurge instead of xkey-purge, and x-soft: 1 beside the URL, keep copies for stale-while-revalidate and stale-if-error.
vcl 4.1;

import purge;
import std;
# xkey:
import xkey;
# end

backend imagecdn {
	.host = "127.0.0.1";
	.port = "8080";
}

# Who may purge. It is the address of the connection that counts: where a proxy for TLS is on this machine, have it speak the PROXY
# protocol (varnishd -a :6081,PROXY), or everybody seems to be that proxy.
acl purgers {
	"127.0.0.1";
	"::1";
}

# Our own caches in front of this one. They are given tags, nobody else is.
acl caches {
	"127.0.0.1";
	"::1";
}

sub vcl_recv {
	if (req.restarts == 0) {
		unset req.http.x-look; # set where this request is looked at again, see vcl_hit
	}
	set req.http.host = std.tolower(regsub(req.http.host, "\.?(:[0-9]+)?$", ""));

	if (req.method == "PURGE" || req.method == "BAN") {
		# Varnish adds the address of the connection to X-Forwarded-For: with two, somebody else is behind it.
		if (client.ip !~ purgers || req.http.X-Forwarded-For ~ ",") {
			return (synth(403, "Purges are not taken from " + client.ip));
		}
		if (req.method == "BAN") {
			# Only what is said of objects is tried behind, and leaves the list of bans when it has been.
			if (req.http.x-ban !~ "^obj[.]" || req.http.x-ban ~ "&& *req[.]") {
				return (synth(400, "x-ban is not about obj"));
			}
			if (std.ban(req.http.x-ban)) {
				return (synth(200, "Banned"));
			}
			return (synth(400, std.ban_error()));
		}
		# xkey:
		if (req.http.xkey-purge) {
			set req.http.x-gone = xkey.purge(req.http.xkey-purge);
			return (synth(200, "Purged " + req.http.x-gone));
		}
		if (req.http.xkey-softpurge) {
			set req.http.x-gone = xkey.softpurge(req.http.xkey-softpurge);
			return (synth(200, "Marked " + req.http.x-gone));
		}
		# end
		if (req.http.xkey-purge || req.http.xkey-softpurge) {
			return (synth(501, "There is no xkey here"));
		}
		if (req.http.x-soft) {
			return (hash); # and on in vcl_hit, vcl_miss or vcl_pass
		}
		return (purge);
	}

	# The console and the API are not for visitors.
	if (req.url ~ "^/-/") {
		return (synth(404));
	}
	unset req.http.Cookie;

	# imagecdn answers by which of these are accepted, and says Vary: Accept. One copy for each answer, not one for each browser.
	if (req.http.Accept) {
		set req.http.x-accept = "*/*";
		if (req.http.Accept ~ "(?i)image/webp" && req.http.Accept !~ "(?i)image/webp *;[^,]*q=0(\.0*)? *(,|;|$)") {
			set req.http.x-accept = "image/webp," + req.http.x-accept;
		}
		if (req.http.Accept ~ "(?i)image/avif" && req.http.Accept !~ "(?i)image/avif *;[^,]*q=0(\.0*)? *(,|;|$)") {
			set req.http.x-accept = "image/avif," + req.http.x-accept;
		}
		set req.http.Accept = req.http.x-accept;
		unset req.http.x-accept;
	}

	if (req.http.x-look == "fresh") {
		set req.grace = 0s;
	} elsif (req.http.x-look == "stale") {
		set req.grace = 3650d;
	}
}

sub vcl_hit {
	if (req.method == "PURGE") {
		set req.http.x-gone = purge.soft(0s);
		return (synth(200, "Marked " + req.http.x-gone));
	}
	# A copy that is past its stale-while-revalidate is kept for stale-if-error: it is not given before the origin was asked.
	if (!req.http.x-look && obj.ttl + std.duration(obj.http.x-swr, 0s) <= 0s) {
		set req.http.x-look = "fresh";
		return (restart);
	}
}

sub vcl_miss {
	if (req.method == "PURGE") {
		set req.http.x-gone = purge.soft(0s);
		return (synth(200, "Marked " + req.http.x-gone));
	}
}

sub vcl_pass {
	if (req.method == "PURGE") {
		return (synth(200, "Marked 0"));
	}
}

sub vcl_backend_response {
	# For bans, which look at the first line of a header.
	std.collect(beresp.http.xkey, " ");
	set beresp.http.x-url = bereq.url;
	set beresp.http.x-host = bereq.http.host;

	# A failure does not take the place of a copy that may still be given.
	if (beresp.status >= 500 && (bereq.is_bgfetch || bereq.http.x-look == "fresh")) {
		return (abandon); # to vcl_synth where somebody waits
	}

	# Varnish takes grace from stale-while-revalidate, and ten seconds where there is none. Of stale-if-error it knows nothing.
	if (beresp.http.Cache-Control !~ "(?i)stale-while-revalidate=") {
		set beresp.grace = 0s;
	}
	set beresp.http.x-swr = beresp.grace + "s";
	if (beresp.http.Cache-Control ~ "(?i)stale-if-error=[0-9]" && beresp.status < 500) {
		if (std.duration(regsub(beresp.http.Cache-Control, "(?i)^.*stale-if-error=([0-9]+).*$", "\1s"), 0s) > beresp.grace) {
			set beresp.grace = std.duration(regsub(beresp.http.Cache-Control, "(?i)^.*stale-if-error=([0-9]+).*$", "\1s"), 0s);
		}
	}
}

sub vcl_backend_error {
	if (bereq.is_bgfetch || bereq.http.x-look == "fresh") {
		return (abandon);
	}
}

sub vcl_deliver {
	unset resp.http.x-url;
	unset resp.http.x-host;
	unset resp.http.x-swr;
	unset resp.http.X-Varnish;
	if (client.ip !~ caches) {
		unset resp.http.xkey;
	}
	if (obj.hits > 0) {
		set resp.http.x-status = "varnish; hit";
	} else {
		set resp.http.x-status = "varnish; fwd=miss";
	}
	if (resp.http.Cache-Status) {
		set resp.http.x-status = resp.http.Cache-Status + ", " + resp.http.x-status;
	}
	set resp.http.Cache-Status = resp.http.x-status;
	unset resp.http.x-status;
}

sub vcl_synth {
	# The origin was asked, in vain, and there is a stale copy.
	if (req.http.x-look == "fresh") {
		set req.http.x-look = "stale";
		return (restart);
	}
	# What became of a purge, in a line.
	if (req.method == "PURGE" || req.method == "BAN") {
		set resp.http.Content-Type = "text/plain; charset=utf-8";
		set resp.body = resp.reason + {"
"};
		return (deliver);
	}
}
