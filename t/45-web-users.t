#!/usr/bin/env perl
# The lab's web services and their users (contrib/lab/handler-web.c, crowd-web.c): NTLM, of which curl says
# that it is real; the cookie MS-WSMAN; sessions of one server. Users of all kinds at once, through the
# balancer, whose connections to the servers are shared by those that may; and what they say when the
# balancer lets go of connections, or of the cookie.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Farm;
use File::Temp qw(tempdir);
use Steelyard;
use Test::More;
use Web qw(curl);

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my %server = map { ($_ => Farm::Server->new($dir, $_, [['127.0.0.1', '0/tcp:web,0/tls:web']])) } qw(fe1 fe2);
my %port; # server => [tcp, tls]
for my $name (sort keys %server) {
	$port{$name} = [$server{$name}->ask('status') =~ /^\Q$name\E .* 127\.0\.0\.1:(\d+) /mg];
}
# What the servers count: requests on somebody else's connection, and sessions that are another's.
sub faults {
	my %sum = (mixed => 0, strayed => 0);
	for my $name (keys %server) {
		my $text = $server{$name}->ask('status');
		$sum{$1} += $2 while $text =~ /\b(mixed|strayed)=(\d+)/g;
	}
	return \%sum;
}

# ---- as a real client sees it ----
SKIP: {
	skip 'curl is not installed', 12 if system 'command -v curl >/dev/null 2>&1';
	skip 'this curl does not know NTLM', 12 if `curl -V` !~ /\bNTLM\b/;
	my $url = "http://127.0.0.1:$port{fe1}[0]";
	my @code = ('-o', '/dev/null', '-w', '%{http_code}\n');
	like(curl('--ntlm', '-u', 'LAB\\jo:lab-password', "$url/abs/"), qr{^fe1 \d+ \S+ jo - /abs/\n\z}, 'NTLM: who knows the password is let in');
	like(curl('--ntlm', '-u', 'jo:lab-password', "$url/abs/[1-3]"), qr{\A(?:fe1 \d+ \S+ jo - /abs/\d\n){3}\z}, 'three requests on one connection');
	is(curl('--ntlm', '-u', 'jo:lab-passwort', @code, "$url/abs/"), "401\n", 'who does not is not');
	is(curl(@code, "$url/abs/"), "401\n", 'nor who says nothing');
	is(faults()->{mixed}, 0, 'so far all is well');
	like(curl('--ntlm', '-u', 'jane:lab-password', '-H', 'X-Lab-User: jo', "$url/abs/[1-2]"),
		qr{ jane - /abs/1\n.* a request of jo over the connection of jane\n\z}s, 'the connection is hers: somebody else on it is found out');
	is(faults()->{mixed}, 1, 'and counted');
	my $heads = curl('-D', '-', "$url/dialin/");
	like($heads, qr{^Set-Cookie: MS-WSMAN=fe1\.lab; Path=/\r$}m, 'who has no cookie gets one, for the session, for scripts as well');
	unlike(curl('-D', '-', '-b', 'MS-WSMAN=fe1.lab', "$url/dialin/"), qr/^Set-Cookie/m, 'who has one does not');
	my ($session) = curl('-X', 'POST', "$url/mcx") =~ / (fe1\.\S+)$/m;
	like(curl("$url/mcx/$session", "$url/mcx/$session"), qr/ 1\n.* 2\n\z/s, 'a session is known');
	is(curl(@code, "http://127.0.0.1:$port{fe2}[0]/mcx/$session"), "404\n", 'where it was made');
	is(faults()->{strayed}, 1, 'at another server it is counted');
}

# ---- through the balancer ----
my $head = $> == 0 ? "user nobody;\n" : '';
sub conf {
	my ($http, $kept) = @_;
	my %pool = (0 => '', 1 => " tls { verify on; ca $dir/state/ca.pem; name pool.lab.test; } ");
	my %tls = (0 => ';', 1 => " { tls { certificate $dir/state/fe1-own.pem { key $dir/state/fe1-own.key; } } }");
	return join '', map { my $n = $_; <<"CONF" } 0, 1;
pool front-ends-$n { server fe1 127.0.0.1:$port{fe1}[$n]; server fe2 127.0.0.1:$port{fe2}[$n]; $pool{$n} }
virtual-service web-$n {
	listen 127.0.0.1:0$tls{$n}
	pool front-ends-$n; protocol http { $http } scheduler least-connections; $kept
	monitor tcp { interval 1s; }
}
CONF
}
my $cookie = 'persistence cookie { name MS-WSMAN; }';
my $sy = Steelyard->start($head . conf('', $cookie));
Farm::wait_all_up($sy);

# Users at desks and phones, each with a few exchanges: (the report, faults that the servers counted).
sub users {
	my $name = shift;
	my $before = faults();
	my $targets = "clear 127.0.0.1:@{[ $sy->port('web-0') ]} tcp web=cookie\n"
		. "tls 127.0.0.1:@{[ $sy->port('web-1') ]} tls tls-name=pool.lab.test web=cookie\n";
	my $crowd = Farm::Crowd->new($dir, $targets, name => $name,
		args => [qw(--short 6 --long 6 --pause 20ms --interval 40ms --ramp 100ms --rounds 12 --timeout 30s --retry-within 30s)]);
	my $report = $crowd->end(by_itself => 1);
	my $now = faults();
	return ($report, { map { ($_ => $now->{$_} - $before->{$_}) } keys %$now }, $crowd);
}
my ($report, $counted, $crowd) = users('well');
is($report->{status}, 0, 'users at desks and phones: all is well') or diag $crowd->words;
is($report->{exchanges}, 24 * 12, 'each exchange was had');
is($report->{strayed}, 0, 'no session was lost');
is_deeply($counted, { mixed => 0, strayed => 0 }, 'and the servers say the same');
cmp_ok($report->{servers}{$_}, '>', 0, "$_ had some of them") for qw(fe1 fe2);

# ---- and when it goes wrong, that is seen ----
my ($ok, $said) = $sy->reload($head . conf('pin off;', $cookie));
ok($ok, 'pin off') or diag $said;
$sy->api('GET', '/v1/connections');
($report, $counted, $crowd) = users('unpinned');
isnt($report->{status}, 0, 'without pinning: not well');
like($crowd->words, qr/mixed up/, 'in words');
cmp_ok($counted->{mixed}, '>', 0, 'and the servers have counted it');

($ok, $said) = $sy->reload($head . conf('', 'persistence off;'));
ok($ok, 'persistence off') or diag $said;
$sy->api('GET', '/v1/connections');
($report, $counted) = users('forgotten');
cmp_ok($report->{strayed}, '>', 0, 'without the cookie: sessions are lost');
cmp_ok($counted->{strayed}, '>', 0, 'at servers that did not make them');
is($counted->{mixed}, 0, 'but nobody takes another\'s connection');
is($sy->stop, 0, 'the end');
done_testing;
