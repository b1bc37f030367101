#!/usr/bin/env perl
# The lab's users (contrib/lab): of web services (handler-web.c, crowd-web.c): NTLM, of which curl says
# that it is real; the cookie MS-WSMAN; sessions of one server. Users of all kinds at once, through the
# balancer, whose connections to the servers are shared by those that may; and what they say when the
# balancer lets go of connections, or of the cookie. The same of those who sign in by SIP, meet, and have their
# media relayed (crowd-sip.c, crowd-psom.c, crowd-turn.c): what they do is counted at both ends, and what is
# wrong is said.
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
my %server = map { ($_ => Farm::Server->new($dir, $_, [['127.0.0.1', '0/tcp:web,0/tls:web,0/tcp:sip,0/tls:sip,0/tls:psom,0/tcp:turn,0/udp:turn']],
	args => ['--keep-alive', '1s'])) } qw(fe1 fe2);
my %port; # server => those of the web, SIP, PSOM and TURN
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

# Who has nothing to say for a minute stays signed in only if he keeps to what he was told: a second, and ten are
# forgiven. They are looked at in the end.
my $since = time;
my $quiet = Farm::Crowd->new($dir, "quiet 127.0.0.1:$port{fe1}[3] tls tls-name=pool.lab.test sip=user\n", name => 'quiet',
	args => [qw(--short 0 --long 2 --interval 60s --ramp 0s)]);

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

# Users at desks and phones, each with so many exchanges: (the report, faults that the servers counted).
sub users {
	my ($name, $rounds) = @_;
	my $before = faults();
	my $targets = "clear 127.0.0.1:@{[ $sy->port('web-0') ]} tcp web=cookie\n"
		. "tls 127.0.0.1:@{[ $sy->port('web-1') ]} tls tls-name=pool.lab.test web=cookie\n";
	my $crowd = Farm::Crowd->new($dir, $targets, name => $name,
		args => [qw(--short 6 --long 6 --pause 20ms --interval 40ms --ramp 100ms --timeout 30s --retry-within 30s), '--rounds', $rounds]);
	my $report = $crowd->end(by_itself => 1);
	my $now = faults();
	return ($report, { map { ($_ => $now->{$_} - $before->{$_}) } keys %$now }, $crowd);
}
my ($report, $counted, $crowd) = users('well', 6);
is($report->{status}, 0, 'users at desks and phones: all is well') or diag $crowd->words;
is($report->{exchanges}, 24 * 6, 'each exchange was had');
is($report->{strayed}, 0, 'no session was lost');
is_deeply($counted, { mixed => 0, strayed => 0 }, 'and the servers say the same');
cmp_ok($report->{servers}{$_}, '>', 0, "$_ had some of them") for qw(fe1 fe2);

# ---- and when it goes wrong, that is seen ----
my ($ok, $said) = $sy->reload($head . conf('pin off;', $cookie));
ok($ok, 'pin off') or diag $said;
$sy->api('GET', '/v1/connections');
($report, $counted, $crowd) = users('unpinned', 3);
isnt($report->{status}, 0, 'without pinning: not well');
like($crowd->words, qr/mixed up/, 'in words');
cmp_ok($counted->{mixed}, '>', 0, 'and the servers have counted it');

($ok, $said) = $sy->reload($head . conf('', 'persistence off;'));
ok($ok, 'persistence off') or diag $said;
$sy->api('GET', '/v1/connections');
($report, $counted) = users('forgotten', 4);
cmp_ok($report->{strayed}, '>', 0, 'without the cookie: sessions are lost');
cmp_ok($counted->{strayed}, '>', 0, 'at servers that did not make them');
is($counted->{mixed}, 0, 'but nobody takes another\'s connection');

# ---- users who talk: SIP, meetings, media ----
my @talk = (['sip', 2, 'tcp', 'sip=user'], ['sip-tls', 3, 'tls', 'tls-name=pool.lab.test sip=user'], ['trunk', 2, 'tcp', 'sip=call'], ['report', 3, 'tls', 'sip=service'],
	['meet', 4, 'tls', 'tls-name=pool.lab.test psom=page'], ['av', 5, 'tcp', 'turn'], ['av-udp', 6, 'udp', 'turn'], ['page', 0, 'tcp', 'web=cookie']);
my %how = (sip => 'protocol sip { mode connection; }', page => "protocol http; $cookie", av => 'protocol turn;', 'av-udp' => 'protocol turn;');
sub talk_conf {
	my %how = (%how, @_);
	return $head . join '', map {
		my ($name, $n, $transport) = @$_;
		my $how = $how{$name} // 'protocol tcp;';
		my $listen = '127.0.0.1:0' . ($transport eq 'udp' ? '/udp' : '');
		"pool $name { server fe1 127.0.0.1:$port{fe1}[$n]; server fe2 127.0.0.1:$port{fe2}[$n]; }\n"
			. "virtual-service $name { listen $listen; pool $name; $how scheduler round-robin; monitor off; }\n"
	} @talk;
}
# Some of these users, with that many exchanges each: the crowd, which is at work.
sub talkers {
	my ($name, $kinds, @args) = @_;
	my $targets = join '', map { my ($service, undef, $transport, $speaks) = @$_; "$service 127.0.0.1:" . $sy->port($service) . " $transport $speaks\n" }
		grep { my $service = $_->[0]; grep { $_ eq $service } @$kinds } @talk;
	return Farm::Crowd->new($dir, $targets, name => $name,
		args => [qw(--short 2 --long 2 --pause 20ms --interval 40ms --ramp 100ms --timeout 30s --retry-within 30s), @args]);
}
sub signed_in { my $sum = 0; for my $name (keys %server) { my $text = $server{$name}->ask('status'); $sum += $1 while $text =~ /\busers=(\d+)/g } return $sum }
($ok, $said) = $sy->reload(talk_conf());
ok($ok, 'other services') or diag $said;
$sy->api('GET', '/v1/connections');
my $before = faults();
$crowd = talkers('talk', [map { $_->[0] } @talk], qw(--rounds 8));
$report = $crowd->end(by_itself => 1);
is($report->{status}, 0, 'users talk, meet, and have media relayed: all is well') or diag $crowd->words;
my %target = map { $_->{name} => $_ } @{ $report->{targets} };
# Short ones do everything in each exchange; long ones sign in first, then begin a call, end it, ask, and so on; and leave.
for my $name (qw(sip sip-tls)) {
	is($target{$name}{sign_ins}, 2 * 8 + 2, "$name: each user signed in");
	is($target{$name}{calls}, 2 * 8 + 2 * 3, "$name: and called");
	is($target{$name}{exchanges}, 4 * 8 + 2, "$name: and those who stayed signed out in the end");
}
is($target{meet}{meetings}, 2 * 8 + 2, 'each guest joined the meeting by its page');
is($target{meet}{shares}, 2 * 8 + 2 * 2, 'and shared something');
for my $name (qw(av av-udp)) {
	cmp_ok($target{$name}{allocations}, '>=', 2 * 8 + 2, "$name: each user got a relay");
	cmp_ok($target{$name}{media}, '>=', 2 * (2 * 8) + 2 * 7, "$name: and media came back");
}
my %figures = map { $_->{name} => $_->{figures} } @{ $sy->api('GET', '/v1/services')->{services} };
cmp_ok($figures{av}{allocate_successes}, '>', 0, 'over TCP the balancer sees the allocations');
cmp_ok($figures{'av-udp'}{allocate_challenges}, '>', 0, 'over UDP it sees how clients are sent to a server');
is($figures{'av-udp'}{allocate_successes}, 0, 'and they are there from then on');
is($report->{calls_cut}, 0, 'no call was cut');
cmp_ok($target{$_}{servers}{fe1} // 0, '>', 0, "$_: fe1 had some of it") for grep { $_ ne 'page' } keys %target;
cmp_ok($target{$_}{servers}{fe2} // 0, '>', 0, "$_: fe2 too") for grep { $_ ne 'page' } keys %target;
is_deeply(faults(), $before, 'no user was mistaken for another');
like($crowd->words, qr/^users: signed in 36 times.*^calls: \d+ from INVITE to BYE, 0 cut\n^meetings: joined 18 times.*^media: \d+ allocations/ms, 'the report says so');

# ---- and when it goes wrong ----
my @few = qw(--wait 0 --rounds 1 --retry-within 1s);
($ok, $said) = $sy->reload(talk_conf(sip => 'protocol sip { mode proxy; }'));
ok($ok, 'SIP is balanced message by message') or diag $said;
$sy->api('GET', '/v1/connections');
$report = ($crowd = talkers('scattered', ['sip'], @few))->end(by_itself => 1);
isnt($report->{status}, 0, 'NTLM does not stand that: not well');
like($crowd->words, qr/^failed: sip: .*REGISTER of user-/m, 'in words, with the step');
($ok, $said) = $sy->reload(talk_conf());
$sy->api('GET', '/v1/connections');

# What servers do to them, at once: registrars that take nobody, relays and meetings that do not answer.
$server{$_}->ask('drain', $_, $port{$_}[2]) for qw(fe1 fe2);
for my $name (qw(fe1 fe2)) { $server{$name}->ask('mute', $name, $port{$name}[$_]) for 4, 6 }
$report = ($crowd = talkers('unwelcome', [qw(sip meet av-udp page)], @few, '--timeout', '1s', '--short', 1, '--long', 0))->end(by_itself => 1);
like($crowd->words, qr/^$_->[0]/m, $_->[1]) for
	['failed: sip: .*was not answered with 401.*REGISTER of user-\S+ was answered with 503', 'a registrar that drains'],
	['failed: meet: .*TLS handshake not done in 1 s', 'a meeting that hangs'],
	['failed: av-udp: .*no datagram came', 'a relay that hangs'];
$server{$_}->ask('up', $_) for qw(fe1 fe2);

# A server goes away in the middle: everybody is back at the other one, and does what he did.
$crowd = talkers('bereft', [grep { !/udp/ } map { $_->[0] } @talk], qw(--short 1 --long 4));
$server{fe2}->kill;
Steelyard::wait_for('all who stay to be at fe1', sub { signed_in() >= 2 + 2 * 4 + 2 * 4 });
$report = $crowd->end;
is($report->{status}, 0, 'a server is killed: who tries once more goes on') or diag $crowd->words;
cmp_ok($report->{moved}, '>', 0, 'and some did');
is(signed_in(), 2, 'who leaves signs out, leaves the meeting, lets the relay go; two are quiet');

Steelyard::wait_for('the quiet to be quiet for long enough', sub { time - $since > 12 });
$report = $quiet->end;
is($report->{status}, 0, 'users who are silent are well');
is($report->{moved} + $report->{again}, 0, 'they were never signed out');
cmp_ok($report->{keep_alives}, '>=', 2 * 8, 'because they said so');
is($sy->stop, 0, 'the end');
done_testing;
