#!/usr/bin/env perl
# wrk on a service with two nginx servers, over HTTP and over HTTPS: each answer is intact, and none fails,
# through reloads.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Crowd ();
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Steelyard;
use Web qw(nginx);

plan skip_all => 'wrk is not installed' if system('command -v wrk >/dev/null 2>&1');
my $dir = tempdir('steelyard-wrk-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @nginx = map {
	my $port = Steelyard::free_port();
	my $name = "n$_";
	{ port => $port, server => nginx("server { listen 127.0.0.1:$port; root HERE; add_header X-Server $name always; }",
		ready => sub { IO::Socket::INET->new("127.0.0.1:$port") }) };
} 1, 2;
plan skip_all => 'nginx is not installed' unless $nginx[0]{server};
# A page says its own name over and over.
for my $nginx (@nginx) {
	for my $n (0 .. 19) {
		open my $out, '>', $nginx->{server}->dir . "/p$n" or die $!;
		print $out "p$n\n" x ($n * $n * 40 + 1);
		close $out;
	}
}
my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', key => 'ec', names => ['web.example.net']);
my $conf = <<CONF;
workers 2;
pool two { server n1 127.0.0.1:$nginx[0]{port}; server n2 127.0.0.1:$nginx[1]{port}; }
virtual-service plain { listen 127.0.0.1:0; pool two; scheduler round-robin; protocol http; monitor tcp { interval 1s; } }
virtual-service tls { listen 127.0.0.1:0 { tls { certificate @{[ $certs->path('web.crt') ]}; key @{[ $certs->path('web.key') ]}; } }
	pool two; scheduler round-robin; protocol https; monitor tcp { interval 1s; } }
CONF
my $sy = Steelyard->start($conf);
$sy->wait_up($_->[0], $_->[1]) for map { my $s = $_; map { [$s, $_] } qw(n1 n2) } qw(plain tls);

open my $lua, '>', "$dir/check.lua" or die $!;
print $lua <<'LUA';
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) good, wrong, why, n = 0, 0, "", 0 end
function request()
	n = (n + 7) % 20
	return wrk.format("GET", "/p" .. n)
end
function response(status, headers, body)
	local line, number = body:match("^(p(%d+)\n)")
	local times = number and number * number * 40 + 1
	if status == 200 and times and body == line:rep(times) and tonumber(headers["Content-Length"]) == #body
		and headers["X-Server"]:match("^n[12]$") then
		good = good + 1
	else
		wrong = wrong + 1
		why = status .. ": " .. body:sub(1, 60)
	end
end
function done(summary, latency, requests)
	local good, wrong, why = 0, 0, ""
	for _, thread in ipairs(threads) do
		good = good + thread:get("good")
		wrong = wrong + thread:get("wrong")
		why = why .. thread:get("why")
	end
	local e = summary.errors
	print(string.format("good %d wrong %d connect %d read %d write %d status %d timeout %d %s",
		good, wrong, e.connect, e.read, e.write, e.status, e.timeout, why))
end
LUA
close $lua;

for my $service (qw(plain tls)) {
	my $url = ($service eq 'tls' ? 'https' : 'http') . '://127.0.0.1:' . $sy->port($service);
	my @before = map { $sy->seat($service, $_)->{total} } qw(n1 n2);
	open my $wrk, '-|', "wrk -t 2 -c 20 -d 6s --timeout 30s -s $dir/check.lua $url 2>&1" or die $!;
	Steelyard::wait_for("$service: requests", sub { $sy->seat($service, 'n1')->{total} > $before[0] + 100 });
	for my $n (1 .. 5) {
		my ($ok, $text) = $sy->reload("$conf# $n\n");
		ok($ok, "$service: reload $n") or diag $text;
		$sy->api('GET', '/v1/connections');
	}
	my $said = do { local $/; <$wrk> };
	my ($good, $errors) = $said =~ /^good (\d+) (wrong .*?)\s*$/m;
	cmp_ok($good // 0, '>', Crowd::sanitized() ? 100 : 500, "$service: " . ($good // 'no') . ' answers are intact') or diag $said;
	is($errors // $said, 'wrong 0 connect 0 read 0 write 0 status 0 timeout 0', "$service: and none failed");
	my @after = map { $sy->seat($service, $_)->{total} } qw(n1 n2);
	cmp_ok($after[$_] - $before[$_], '>', $good / 3, "$service: n" . ($_ + 1) . ' had its part') for 0, 1;
}
is($sy->stop, 0, 'it ends well');
done_testing;
