#!/usr/bin/env perl
# The reference lab's four deployments from the ready-made templates, with real addresses in network
# namespaces: Front Ends all on the balancer and with DNS, one arm; the Edges' internal side, one arm,
# and their external side, two arms, A/V with the clients' own addresses. Every port carries traffic: users sign in
# (on 5060 they are sent home), call and meet, media go through relays; a Front End and an Edge are killed under a
# crowd that tries once more at most; the whole farm fits into 64 MiB on one core.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Crowd qw(memory);
use Farm;
use File::Temp qw(tempdir);
use Steelyard;
use Test::More;

plan skip_all => 'needs root for network namespaces' if $> != 0;
my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $net = eval { Farm::Net->new(qw(lb fe1 fe2 edge1 edge2 inside outside)) }
	or plan skip_all => "needs network namespaces: $@";

# One arm: everybody inside is on one network with the balancer. Two arms: the Edges' external network is
# behind it, and it is their way back.
my @vips = map { "10.88.1.$_/24" } 1, 5, 6, 7;
my @edges = map { { inside => "10.88.1.2$_", access => "198.51.100.1$_", webconf => "198.51.100.2$_", av => "198.51.100.3$_" } } 1, 2;
$net->bridge('lb', 'in', @vips);
$net->bridge('lb', 'dmz', '198.51.100.1/24');
$net->bridge('lb', 'out', map { "203.0.113.$_/24" } 1, 10, 11, 12);
$net->cable("fe$_", 'lb', 'in', undef, "10.88.1.1$_/24") for 1, 2;
for my $i (1, 2) {
	my $e = $edges[$i - 1];
	$net->cable("edge$i", 'lb', 'in', undef, "$e->{inside}/24");
	$net->cable("edge$i", 'lb', 'dmz', '198.51.100.1', map { "$e->{$_}/24" } qw(access webconf av));
}
$net->cable('inside', 'lb', 'in', undef, '10.88.1.200/24');
$net->cable('outside', 'lb', 'out', '203.0.113.1', '203.0.113.200/24');
# A killed server's kernel says for each datagram that nobody is there; by default it says so once a second.
$net->do("edge$_", 'sysctl -qw net.ipv4.icmp_ratelimit=0') for 1, 2;
# Answers of the Edges have the clients' addresses: manage-routing sees to that. The rest that they do is routed.
$net->do('lb', 'sysctl -qw net.ipv4.ip_forward=1');

my %servers = map { ("fe$_" => Farm::Server->new($dir, "fe$_", [["10.88.1.1$_", 'front-end']], wrap => [$net->in("fe$_")])) } 1, 2;
for my $i (1, 2) {
	my $e = $edges[$i - 1];
	$servers{"edge$i"} = Farm::Server->new($dir, "edge$i", [[$e->{inside}, 'edge-internal'], map { [$e->{$_}, "edge-$_"] } qw(access webconf av)],
		wrap => [$net->in("edge$i")]);
}

my $templates = Steelyard::src_dir() . '/conf.d/templates';
my $front_ends = 'front-ends { server fe1 10.88.1.11; server fe2 10.88.1.12; }';
sub edges { my $which = shift; join ' ', map { "server edge" . ($_ + 1) . " $edges[$_]{$which};" } 0, 1 }
my $quick = 'check-interval 1s; slow-start 0;';
my $conf = <<"CONF";
include $templates/*.conf;
log-connections off;
manage-routing on;
deploy lync-fe-hlb { virtual-address 10.88.1.5; version 2010; pool-name fepool.lab.test; ca $dir/state/ca.pem; $front_ends $quick }
deploy lync-edge-external {
	access-address 203.0.113.10; access-edges { @{[ edges('access') ]} } access-name sip.lab.test;
	webconf-address 203.0.113.11; webconf-edges { @{[ edges('webconf') ]} } webconf-name webconf.lab.test;
	av-address 203.0.113.12; av-edges { @{[ edges('av') ]} }
	ca $dir/state/ca.pem; version 2010; $quick
}
CONF
my $rest = <<"CONF";
deploy lync-fe-web-dnslb { internal-address 10.88.1.6; version 2010; $front_ends $quick }
deploy lync-edge-int { internal-address 10.88.1.7; internal-edges { @{[ edges('inside') ]} } pool-name edgepool.lab.test; ca $dir/state/ca.pem; $quick }
CONF
my $sy = Steelyard->start("workers auto;\n$conf", wrap => [$net->in('lb'), 'taskset', '-c', '0']);

# ---- the farm of L1 and L4 on one core ----
my @fe_tls = ([5061, 'fepool'], [444, 'fepool'], [5067, 'fepool'], [443, 'webint'], [4443, 'webext']);
my @fe_tcp = qw(135 80 8080 5060 5065 5068 5069 5070 5071 5072 5073 5075 5076 5080);
my %speaks = (5061 => 'sip=user', 5060 => 'sip=user', 5069 => 'sip=service', 444 => 'web=servers', 135 => '', 5080 => '',
	map { $_ => 'web=connection' } 443, 4443, 80, 8080);
sub speaks { my $port = shift; return " answers-port=$port " . ($speaks{$port} // 'sip=call') . "\n" }
my $l1 = join '', map({ "fe-$_->[0] 10.88.1.5:$_->[0] tls tls-name=$_->[1].lab.test" . speaks($_->[0]) } @fe_tls),
	map({ "fe-$_ 10.88.1.5:$_ tcp" . speaks($_) } @fe_tcp), "fe-448 10.88.1.5:448 tcp optional short=1 long=0\n",
	# Meetings inside: clients go to the server itself, past the balancer.
	"fe2-8057 10.88.1.12:8057 tls tls-name=fepool.lab.test answers-port=8057 psom\n";
my $l2 = join '', map { my ($port, $tls) = @$_; "web-$port 10.88.1.6:$port " . ($tls ? "tls tls-name=$tls.lab.test" : 'tcp') . " answers-port=$port web=connection\n" }
	[443, 'webint'], [80], [4443, 'webext'], [8080];
my $l3 = <<'TARGETS';
int-5061 10.88.1.7:5061 tls tls-name=edgepool.lab.test answers-port=5061 sip=call
int-5062 10.88.1.7:5062 tls tls-name=edgepool.lab.test answers-port=5062 sip=service
int-443 10.88.1.7:443 tcp answers-port=443 turn
int-3478 10.88.1.7:3478 udp answers-port=3478 turn
TARGETS
my $l4 = <<'TARGETS';
access-443 203.0.113.10:443 tls tls-name=sip.lab.test answers-port=443 sip=user
access-5061 203.0.113.10:5061 tls tls-name=sip.lab.test answers-port=5061 sip=call
webconf-443 203.0.113.11:443 tls tls-name=webconf.lab.test answers-port=443 psom
av-443 203.0.113.12:443 tcp answers-port=443 turn sees=client
av-3478 203.0.113.12:3478 udp answers-port=3478 turn sees=client
TARGETS
my @pace = ('--short', 2, '--long', 4, '--pause', '200ms', '--interval', '300ms', '--ramp', '300ms', '--timeout', '20s', '--retry-within', '20s');
sub crowd { my ($where, $name, $targets) = @_; Farm::Crowd->new($dir, $targets, name => $name, wrap => [$net->in($where)], args => \@pace) }
sub every_service_up {
	my ($what, @but) = @_;
	Steelyard::wait_for($what, sub {
		my $list = $sy->api('GET', '/v1/services')->{services};
		!grep { my $s = $_; grep { $_->{state} !~ /^(up|unused)$/ } @{ $s->{servers} } } @$list;
	});
}
every_service_up('all servers to be up');
my ($in, $out) = (crowd('inside', 'l1', $l1), crowd('outside', 'l4', $l4));
SKIP: {
	skip 'built with sanitizers', 1 if Crowd::sanitized();
	my %pss = map { ("$_->{role} $_->{pid}" => memory($_->{pid})->{pss}) } @{ $sy->processes }, { role => 'master', pid => $sy->{pid} };
	my $sum = 0;
	$sum += $_ for values %pss;
	cmp_ok($sum, '<', 64 * 1024, "all processes of the whole farm: $sum KiB on one core")
		or diag map { "$_: $pss{$_}\n" } sort keys %pss;
	is(scalar(grep { /^worker/ } keys %pss), 1, 'with one worker');
}
my $tried_again = 0;
for my $crowd ($in, $out) {
	my $report = $crowd->end;
	is($report->{status}, 0, "$crowd->{name}: every port carries traffic") or diag $crowd->words;
	is($report->{failed}, 0, "$crowd->{name}: no exchange failed");
	my %target = map { $_->{name} => $_ } @{ $report->{targets} };
	cmp_ok($target{$_->[0]}{$_->[1]}, '>', 0, "$_->[0]: $_->[1]") for $crowd->{name} eq 'l1'
		? (['fe-5061', 'sign_ins'], ['fe-5060', 'redirects'], ['fe-5068', 'calls'], ['fe2-8057', 'meetings'])
		: (['access-443', 'sign_ins'], ['webconf-443', 'meetings'], ['av-443', 'media'], ['av-3478', 'media']);
}
my %unused = map { $_->{name} => $_->{state} } @{ $sy->api('GET', '/v1/services')->{services} };
is($unused{'fe-448'}, 'unused', 'a service that no server has shows as unused');
is($unused{'fe-sip'}, 'up', 'another as up');

# ---- who sees whom ----
my $ask = <<'PERL';
use IO::Socket::IP;
my ($to, $port) = @ARGV;
my $sock = IO::Socket::IP->new(PeerHost => $to, PeerPort => $port, Timeout => 30) or die $@;
print $sock "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:a>\r\n",
	"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
while (<$sock>) { print and last if /^X-Lab/ }
PERL
# Which Front End answers, and whom it sees.
sub asked {
	my ($where, @what) = @_;
	open my $pipe, '-|', $net->in($where), $^X, '-e', $ask, @what or die $!;
	my ($server, $seen) = (<$pipe> // '') =~ /^X-Lab: (\S+) \d+ (\S+)/;
	return { server => $server // 'nobody', seen => $seen // 'nobody' };
}
like(asked('inside', '10.88.1.5', 5068)->{seen}, qr/^10\.88\.1\.[1567]:/, 'Front Ends see an address of the balancer');
like(asked('fe1', '10.88.1.5', 5068)->{server}, qr/^fe[12]$/, 'and a Front End reaches its own pool');

# ---- all four, and servers that fail ----
my ($ok, $said) = $sy->reload("workers auto;\n$conf$rest");
ok($ok, 'L2 and L3 come with a reload') or diag $said;
every_service_up('all servers of all four deployments to be up');
($in, $out) = (crowd('inside', 'inside', "$l1$l2$l3"), crowd('outside', 'outside', $l4));
for my $name (qw(fe1 edge1)) {
	$servers{$name}->kill;
	my $down = eval { Steelyard::wait_for("$name to be down everywhere", sub {
		my $list = $sy->api('GET', '/v1/services')->{services};
		my @seats = grep { $_->{name} eq $name } map { @{ $_->{servers} } } @$list;
		my @shown = grep { $_->{state} =~ /^(down|unused)$/ } @seats;
		@seats && @shown == @seats ? scalar @seats : 0;
	}) };
	is($down, $name eq 'fe1' ? 23 : 9, "$name is down in each of its services");
	my ($status) = $sy->ctl('status');
	like($status, qr/^$name\s+\S+\s+down\s.*connection\s+refused/m, 'steelyardctl status says so, and why') or diag $status;
}
$servers{$_}->again for qw(fe1 edge1);
every_service_up('the servers to be back');
for my $crowd ($in, $out) {
	my $report = $crowd->end;
	is($report->{status}, 0, "$crowd->{name}: nobody who tried once more failed") or diag $crowd->words;
	is($report->{failed}, 0, "$crowd->{name}: no exchange failed");
	$tried_again += $report->{moved} + $report->{again};
}
cmp_ok($tried_again, '>', 0, 'some had to');
is($sy->stop, 0, 'the end');
done_testing;
