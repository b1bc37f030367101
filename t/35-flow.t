#!/usr/bin/env perl
# The way of a datagram: flows, who serves them, when they end, and what they survive.
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Steelyard;
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::IP;
use Socket qw(SOCK_DGRAM MSG_DONTWAIT);
use Test::More;
use Time::HiRes qw(time sleep);

# A UDP server in a process of its own; answers "NAME|ADDRESS:PORT of the peer|what was said".
package Echo {
	sub new {
		my ($class, $name, %opt) = @_;
		my $sock = IO::Socket::IP->new(LocalHost => $opt{address} || '127.0.0.1',
			LocalPort => $opt{port} || 0, Type => Socket::SOCK_DGRAM) or die "echo $name: $@";
		my $self = bless { name => $name, port => $sock->sockport, owner => $$ }, $class;
		$self->{pid} = fork // die "fork: $!";
		if (!$self->{pid}) {
			Steelyard::die_with_parent();
			$SIG{TERM} = 'DEFAULT';
			while (1) {
				my $from = $sock->recv(my $said, 65536) // next;
				my (undef, $host, $port) = (0, Socket::getnameinfo($from, 3, 0))[0, 2, 3];
				$sock->send(length $said ? "$name|$host:$port|$said" : '', 0, $from);
			}
		}
		return $self;
	}
	sub kill { my $self = shift; CORE::kill('KILL', $self->{pid}); waitpid delete $self->{pid}, 0 }
	sub DESTROY {
		my $self = shift;
		local ($?, $!);
		$self->kill if $self->{pid} && $self->{owner} == $$;
	}
}

sub client {
	my (%opt) = @_;
	return IO::Socket::IP->new(LocalHost => $opt{address} || '127.0.0.1', LocalPort => $opt{port} || 0,
		Type => SOCK_DGRAM) || die "client: $@";
}

sub name_of {
	my ($host, $port) = @_;
	my (undef, $info) = Socket::getaddrinfo($host, $port,
		{ socktype => SOCK_DGRAM, flags => Socket::AI_NUMERICHOST });
	return $info->{addr};
}

# Says something and waits for the answer: (server, what it saw, text, who answered); empty in vain.
sub ask {
	my ($sock, $to, $text, $wait) = @_;
	$sock->send($text, 0, $to) // return;
	return hear($sock, $text, $wait);
}

sub hear {
	my ($sock, $text, $wait) = @_;
	my $end = time + ($wait // 1);
	while ((my $left = $end - time) > 0) {
		IO::Select->new($sock)->can_read($left) or return;
		my $from = $sock->recv(my $answer, 65536) // next;
		my ($name, $peer, $said) = split /\|/, $answer, 3;
		my (undef, $host, $port) = Socket::getnameinfo($from, 3);
		return ($name, $peer, $said, "$host:$port") if !length $text || ($said // '') eq $text;
	}
	return;
}

# Repeats until there is an answer: for what is in flight when something dies.
sub insist {
	my ($sock, $to, $text, $tries) = @_;
	for my $try (1 .. $tries || 20) {
		my @got = ask($sock, $to, $text, 0.5);
		return (@got, $try) if @got;
	}
	return;
}

sub metrics { # what the API says of a service
	my ($sy, $name) = @_;
	my ($service) = grep { $_->{name} eq $name } @{ $sy->api('GET', '/v1/services')->{services} };
	return $service;
}

sub flows {
	my ($sy, $name) = @_;
	return grep { $_->{service} eq $name } @{ $sy->api('GET', '/v1/connections')->{connections} };
}

my $one = Echo->new('one');
my $two = Echo->new('two');
my $pool = "pool p {\n server one 127.0.0.1:$one->{port};\n server two 127.0.0.1:$two->{port};\n}\n";
my $common = "protocol udp; pool p; scheduler round-robin;";

subtest 'clients and servers' => sub {
	my $sy = Steelyard->start($pool . <<"CONF");
virtual-service echo { listen 127.0.0.1:0/udp; $common monitor off; }
CONF
	my $to = name_of('127.0.0.1', $sy->port('echo'));
	my @clients = map { client() } 1 .. 20;
	my (%served, %seen, @wrong);
	for my $round (1 .. 5) {
		for my $i (0 .. $#clients) {
			my ($name, $peer, undef, $from) = ask($clients[$i], $to, "c$i r$round");
			$name //= 'nobody';
			$served{$name}++ if $round == 1;
			push @wrong, "client $i, round $round: $name instead of $seen{$i}{name}"
				if $name ne ($seen{$i}{name} //= $name);
			push @wrong, "client $i: source changed" if ($peer // '') ne ($seen{$i}{peer} //= $peer);
			push @wrong, "client $i: answered by $from"
				if ($from // '') ne '127.0.0.1:' . $sy->port('echo');
		}
	}
	is_deeply(\@wrong, [], 'each client keeps its server, and one source address and port there');
	is_deeply(\%served, { one => 10, two => 10 }, 'the scheduler shares the clients out');
	is(scalar keys %{ { map { $_->{peer} => 1 } values %seen } }, 20, 'each has a source port of its own');
	my $big = 'x' x 60000;
	is((ask($clients[0], $to, $big))[2], $big, '60,000 bytes in one datagram');
	$clients[0]->send('', 0, $to);
	ok(IO::Select->new($clients[0])->can_read(2), 'an empty datagram comes back')
		and $clients[0]->recv(my $nothing, 100);
	my @list = flows($sy, 'echo');
	is(scalar @list, 20, 'the list shows the flows');
	is($list[0]{transport}, 'udp', 'as UDP');
	my $service = metrics($sy, 'echo');
	is($service->{active}, 20, 'active') or diag explain $service;
	is($service->{total}, 20, 'total');
	my ($text) = $sy->ctl('connections', '--json', '--service', 'echo');
	like($text, qr/"source"/, 'steelyardctl shows where they go') or diag $text;
	my ($burst, %got) = client();
	$burst->send("b$_", 0, $to) for 1 .. 30;
	while (my @answer = hear($burst, '', 0.5)) {
		$got{$answer[2]}++;
		last if keys %got == 30;
	}
	is(scalar keys %got, 30, 'thirty datagrams at once come back');
	$sy->stop;
	like($sy->log_text, qr/flow.*service=echo.*server=(one|two).*end=shutdown/, 'a line at the end');
	is($sy->{status}, 0, 'stopped');
};

subtest 'the address that the client used' => sub {
	my $sy = Steelyard->start($pool . <<"CONF");
virtual-service wild { listen *:0/udp; $common monitor off; }
virtual-service six { listen [::1]:0/udp; $common monitor off; }
virtual-service wild6 { listen [::]:0/udp; $common monitor off; }
CONF
	my $sock = client(address => '0.0.0.0');
	my $port = $sy->port('wild');
	for my $vip ('127.0.0.5', '127.0.0.6', '127.0.0.5') {
		is((ask($sock, name_of($vip, $port), "to $vip"))[3], "$vip:$port", "$vip answers itself");
	}
	is(scalar flows($sy, 'wild'), 2, 'two addresses are two flows');
	my $sock6 = client(address => '::1');
	for my $name ('six', 'wild6') {
		my $port6 = $sy->port($name);
		is((ask($sock6, name_of('::1', $port6), 'hello'))[3], "::1:$port6",
			"$name: IPv6 clients, IPv4 servers");
	}
};

subtest 'how flows end' => sub {
	my $sy = Steelyard->start($pool . <<"CONF");
virtual-service short { listen 127.0.0.1:0/udp; $common monitor off; idle-timeout 1s; }
virtual-service usual { listen 127.0.0.1:0/udp; $common monitor off; }
CONF
	my $sock = client();
	my $to = name_of('127.0.0.1', $sy->port('short'));
	ok(ask($sock, $to, 'a'), 'answered');
	for (1 .. 8) {
		sleep 0.25;
		ask($sock, $to, "keep $_");
	}
	is(metrics($sy, 'short')->{total}, 1, 'a flow with traffic outlives its idle timeout');
	$sy->wait_log(qr/flow.*service=short.*end=idle/);
	like($sy->log_text, qr/nothing was said for 1\.0 s, that is idle-timeout/, 'idle, in words');
	is(scalar flows($sy, 'short'), 0, 'and gone');
	is(metrics($sy, 'short')->{active}, 0, 'none is active');
	$to = name_of('127.0.0.1', $sy->port('usual'));
	ask($sock, $to, 'b');
	my ($text) = $sy->api('DELETE', '/v1/connections?service=usual');
	is(scalar flows($sy, 'usual'), 0, 'closed by the operator') or diag explain $text;
	$sy->wait_log(qr/service=usual.*end=operator/);
	ok(ask($sock, $to, 'c'), 'the next datagram begins another');
};

subtest 'a server that goes down' => sub {
	# What the monitor asks: TCP on one port of each server's address.
	my $alive = Steelyard->server('alive');
	my $alive_there = Steelyard->server('alive there', address => '127.0.0.2', port => $alive->port);
	my $two_there = Echo->new('two', address => '127.0.0.2');
	my $sy = Steelyard->start(<<"CONF");
pool q {
	server one 127.0.0.1:$one->{port} weight=100;
	server two 127.0.0.2:$two_there->{port} weight=1;
}
virtual-service echo {
	listen 127.0.0.1:0/udp; protocol udp; pool q; scheduler priority; persistence source;
	monitor tcp { port @{[ $alive->port ]}; interval 200ms; fall 1; rise 1; }
}
CONF
	$sy->wait_up('echo', 'one');
	my $sock = client();
	my $to = name_of('127.0.0.1', $sy->port('echo'));
	my ($first) = ask($sock, $to, 'a');
	ok($first, "served by $first");
	my ($again) = ask(client(), $to, 'b');
	is($again, $first, 'persistence: another port of the same client comes to the same server');
	my @others = map { client() } 1 .. 5;
	ask($_, $to, 'c') for @others;
	$alive->kill;
	$sy->wait_down('echo', 'one');
	$sy->wait_log(qr/service=echo.*server=one.*end=server-down/);
	is((ask($sock, $to, 'd'))[0], 'two', 'the next datagram goes to another server');
	is(scalar(grep { ((ask($_, $to, 'e'))[0] // '') eq 'two' } @others), 5, 'of every client');
	is((ask(client(), $to, 'f'))[0], 'two', 'persistence has forgotten the dead one');
	is(metrics($sy, 'echo')->{active}, 7, 'no flow is left with it') or diag explain [flows($sy, 'echo')];
	$alive->again;
	$sy->wait_up('echo', 'one');
	is((ask($sock, $to, 'g'))[0], 'two', 'its return moves nobody');
	$sy->ctl('drain', 'two');
	is((ask($sock, $to, 'h'))[0], 'two', 'a flow goes on at a server that drains');
};

subtest 'ICMP: a server without its port is left at once' => sub {
	my $dying = Echo->new('dying');
	my $sy = Steelyard->start(<<"CONF");
pool q {
	server dying 127.0.0.1:$dying->{port} weight=100;
	server two 127.0.0.1:$two->{port} weight=1;
}
virtual-service echo { listen 127.0.0.1:0/udp; protocol udp; pool q; scheduler priority; monitor off; }
virtual-service alone { listen 127.0.0.1:0/udp; protocol udp; pool r; monitor off; }
pool r { server dying 127.0.0.1:$dying->{port}; }
CONF
	my ($sock, $lone) = (client(), client());
	my $to = name_of('127.0.0.1', $sy->port('echo'));
	my $to_alone = name_of('127.0.0.1', $sy->port('alone'));
	is((ask($sock, $to, 'a'))[0], 'dying', 'the first choice');
	is((ask($lone, $to_alone, 'a'))[0], 'dying', 'the only choice');
	my $port = $dying->{port};
	$dying->kill;
	my ($name, $tries) = (insist($sock, $to, 'b'))[0, 4];
	is($name, 'two', 'another server answers');
	cmp_ok($tries, '<=', 2, 'one datagram was lost at most');
	my ($fresh, $n) = (insist(client(), $to, 'c'))[0, 4];
	is($fresh, 'two', 'so does it for a new client');
	cmp_ok($n, '<=', 2, 'one datagram was lost at most');
	ok(!ask($lone, $to_alone, 'b', 0.3), 'nobody is left');
	cmp_ok(metrics($sy, 'alone')->{active}, '<=', 1, 'no flow is left over');
	$dying = Echo->new('dying', port => $port);
	is((insist($lone, $to_alone, 'c', 3))[0], 'dying', 'and served again when it is back');
};

subtest 'limits' => sub {
	my $sy = Steelyard->start($pool . <<"CONF");
virtual-service few { listen 127.0.0.1:0/udp; $common monitor off; max-connections 2; }
virtual-service each { listen 127.0.0.1:0/udp; $common monitor off; max-connections-per-source 1; }
virtual-service rate { listen 127.0.0.1:0/udp; $common monitor off; max-rate 3/s; }
virtual-service denied { listen 127.0.0.1:0/udp; $common monitor off; deny 127.0.0.9; }
virtual-service packets { listen 127.0.0.1:0/udp; $common monitor off; max-packet-rate-per-source 10/s; }
pool narrow { server one 127.0.0.1:$one->{port} max-connections=1; }
virtual-service narrow { listen 127.0.0.1:0/udp; protocol udp; pool narrow; monitor off; }
CONF
	my %to = map { $_ => name_of('127.0.0.1', $sy->port($_)) } qw(few each rate denied packets narrow);
	my @clients = map { client() } 1 .. 3;
	is(scalar(grep { ask($_, $to{few}, 'a', 0.3) } @clients), 2, 'max-connections');
	ok(ask($clients[0], $to{few}, 'b'), 'those that are in go on');
	is(metrics($sy, 'few')->{refused}, 1, 'and the third is counted as refused');
	is(metrics($sy, 'few')->{active}, 2, 'and not as active');
	is(scalar(grep { ask($_, $to{each}, 'a', 0.3) } @clients), 1, 'max-connections-per-source');
	ok(ask(client(address => '127.0.0.3'), $to{each}, 'a'), 'another source may');
	is(scalar(grep { ask(client(), $to{rate}, 'a', 0.2) } 1 .. 4), 3, 'max-rate');
	ok(!ask(client(address => '127.0.0.9'), $to{denied}, 'a', 0.3), 'deny');
	ok(ask(client(), $to{denied}, 'a'), 'others are not denied');
	$sy->wait_log(qr/service=denied.*end=denied/);
	my $passed = 0;
	my $sock = client();
	$sock->send("p$_", 0, $to{packets}) for 1 .. 40;
	$passed++ while hear($sock, '', 0.4);
	cmp_ok($passed, '>=', 10, "max-packet-rate-per-source lets $passed of 40 pass");
	cmp_ok($passed, '<=', 20, 'and drops the rest');
	cmp_ok(metrics($sy, 'packets')->{refused}, '>=', 20, 'counted');
	is(scalar(grep { ask($_, $to{narrow}, 'a', 0.3) } @clients), 1, "a server's max-connections");
};

subtest 'a protocol module that looks at the datagrams' => sub {
	# What STUN and TURN need, in small: garbage, a load of its own unit, a lifetime.
	my $dir = tempdir('steelyard-modules-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my ($src, $build) = (Steelyard::src_dir(), Steelyard::build_dir());
	chmod 0755, $dir;
	system('cp', '-r', Steelyard::modules() . '/.', $dir) == 0 or die 'cp';
	open my $out, '>', "$dir/letters.c" or die $!;
	print $out <<'C';
#include "api/module.h"
#include "api/protocol.h"
struct letters { uint32_t seen; };
static struct sy_packet_verdict
letters_packet(struct sy_session *session, enum sy_side side, struct sy_span in)
{
	struct letters *state = session->state;
	char first = in.len ? *(const char *)in.at : '\0';
	state->seen++;
	if (side == SY_SERVER)
		return (struct sy_packet_verdict){ .what = SY_PACKET_PASS };
	sy_count(session, first == 'X' ? 1 : 0, 1);
	if (first == 'X' || state->seen > 100)
		return (struct sy_packet_verdict){ .what = SY_PACKET_DROP, .reason = "garbage" };
	session->gauge[1] += first == 'A';
	if (first == 'M')
		session->gauge[1] = 0;
	return (struct sy_packet_verdict){
		.what = SY_PACKET_PASS,
		.lifetime_ms = first == 'L' ? 3000 : 0,
	};
}
static const struct sy_figure gauges[] = {
	{ "others", "Not used." }, { "allocations", "Places that clients have." }, { NULL, NULL },
};
static const struct sy_figure counters[] = {
	{ "good", "Datagrams that were good." }, { "bad", "Datagrams that were not." }, { NULL, NULL },
};
static const struct sy_protocol letters = {
	.size = sizeof(letters), .flags = SY_DATAGRAMS, .load_unit = "allocations",
	.gauges = gauges, .counters = counters, .session_size = sizeof(struct letters), .packet = letters_packet,
};
SY_MODULE(SY_PROTOCOL, "letters", .version = "1.0", .summary = "For this test.", .ops = &letters);
C
	close $out;
	system("cc -std=gnu11 -shared -fPIC -fvisibility=hidden -I$src/core -I$build/core "
		. "-o $dir/protocol/letters.so $dir/letters.c") == 0 or die 'cc';
	my $sy = Steelyard->start($pool . <<"CONF", modules => $dir);
virtual-service letters {
	listen 127.0.0.1:0/udp; protocol letters; pool p; scheduler least-connections;
	monitor off; idle-timeout 1s;
}
virtual-service figures { listen 127.0.0.1:0/udp; protocol letters; pool p; monitor off; }
CONF
	my $to = name_of('127.0.0.1', $sy->port('letters'));
	my ($loaded, $lasting) = (client(), client());
	ok(!ask($loaded, $to, 'X', 0.3), 'garbage is not passed on');
	is(metrics($sy, 'letters')->{active}, 0, 'and makes no flow');
	is(metrics($sy, 'letters')->{refused}, 1, 'but is counted');
	my ($busy) = ask($loaded, $to, 'A');
	ok($busy, "the first allocation is at $busy");
	is_deeply([map { (ask(client(), $to, 'plain'))[0] } 1 .. 4], [($busy eq 'one' ? 'two' : 'one') x 4],
		'the scheduler counts allocations, and not flows');
	ok(!ask($loaded, $to, 'X', 0.3), 'garbage within a flow is dropped, too');
	my $mixed = client();
	kill 'STOP', $_->{pid} for grep { $_->{role} eq 'worker' } @{ $sy->processes };
	$mixed->send($_, 0, $to) for 'good', 'X', 'good as well', 'X';
	kill 'CONT', $_->{pid} for grep { $_->{role} eq 'worker' } @{ $sy->processes };
	ok(hear($mixed, 'good', 2) && hear($mixed, 'good as well', 2), 'good and bad in one batch');
	ok(ask($loaded, $to, 'M'), 'all is given back');
	ok(ask($loaded, $to, 'A'), 'and a new one');
	ok(ask($lasting, $to, 'L'), 'a flow with a lifetime');
	my $begun = time;
	Steelyard::wait_for('the other flows to end', sub { metrics($sy, 'letters')->{active} == 1 });
	Steelyard::wait_for('the last flow to end', sub { metrics($sy, 'letters')->{active} == 0 });
	cmp_ok(time - $begun, '>=', 2.5, 'it lived as long as its lifetime, and not as the idle timeout');
	my %shared = map { (ask(client(), $to, 'again'))[0] => 1 } 1 .. 8;
	is(scalar keys %shared, 2, 'what flows had allocated went with them');

	# What the module counts: told of the service and of each server, in all three places.
	$to = name_of('127.0.0.1', $sy->port('figures'));
	my $client = client();
	ok(!ask($client, $to, 'X', 0.3), 'garbage, before there is a server');
	my ($server) = ask($client, $to, 'A');
	ok(ask($client, $to, 'good'), 'two good ones');
	ok(!ask($client, $to, 'X', 0.3), 'and garbage again');
	my $figures = sub { $sy->api('GET', '/v1/services/figures') };
	my $of = sub { my $all = shift; (grep { $_->{name} eq $server } @{ $all->{servers} })[0]{figures} };
	my $now = $figures->();
	is_deeply($now->{figures}, { others => 0, allocations => 1, good => 2, bad => 2 }, 'of the service')
		or diag explain $now->{figures};
	is_deeply($of->($now), { others => 0, allocations => 1, good => 1, bad => 1 },
		'of the server: what came before it was chosen is not its');
	my $metrics = qx(curl -s --unix-socket $sy->{control} http://localhost/metrics);
	like($metrics, qr/^steelyard_server_letters_allocations\{service="figures",pool="p",server="$server"\} 1$/m, 'a metric');
	like($metrics, qr/^steelyard_service_letters_bad_total\{service="figures"\} 2$/m, 'and one that only grows');
	like($sy->ctl('services', 'figures'), qr/^  letters: allocations 1, good 2, bad 2$/m, 'steelyardctl services');
	kill 'KILL', map { $_->{pid} } grep { $_->{role} eq 'worker' } @{ $sy->processes };
	Steelyard::wait_for('the dead to be counted', sub { $figures->()->{figures}{allocations} == 0 });
	is_deeply($figures->()->{figures}, { others => 0, allocations => 0, good => 2, bad => 2 },
		'workers die: what they had is gone, what they counted is not');
};

subtest 'reload moves nothing' => sub {
	my $conf = $pool . "virtual-service echo { listen 127.0.0.1:0/udp; $common monitor off; }\n";
	my $sy = Steelyard->start($conf);
	my @clients = map { client() } 1 .. 10;
	my $to = name_of('127.0.0.1', $sy->port('echo'));
	my @before = map { [(ask($_, $to, 'a'))[0, 1]] } @clients;
	my $lost = 0;
	for my $n (1 .. 10) {
		my ($ok, $text) = $sy->reload($conf . "virtual-service extra$n { listen 127.0.0.1:0/udp; $common monitor off; }\n");
		ok($ok, "reload $n") or diag $text;
		for my $i (0 .. $#clients) {
			my @got = (ask($clients[$i], $to, "r$n"))[0, 1];
			$lost++ if "@got" ne "@{ $before[$i] }";
		}
	}
	is($lost, 0, 'each flow stayed where it was, to the source port');
	is(metrics($sy, 'echo')->{total}, 10, 'and none began anew');
	for my $workers (4, 1, 2) {
		my ($ok, $text) = $sy->reload("workers $workers;\n$conf");
		ok($ok, "workers $workers") or diag $text;
		my $moved = 0;
		for my $i (0 .. $#clients) {
			my @got = (insist($clients[$i], $to, "w$workers"))[0, 1];
			$moved++ if "@got" ne "@{ $before[$i] }";
		}
		is($moved, 0, "with $workers workers they have the same server and source port");
	}
	my ($ok, $text) = $sy->reload($pool . "virtual-service other { listen 127.0.0.1:0/udp; $common monitor off; }\n");
	ok($ok, 'the service is removed') or diag $text;
	$sy->wait_log(qr/service=echo.*end=removed/);
	ok(!ask($clients[0], $to, 'gone', 0.3), 'nobody answers');
};

subtest 'a graceful stop, and a full worker' => sub {
	my $tcp = Steelyard->server('tcp', greet => 1);
	my $sy = Steelyard->start($pool . <<"CONF");
workers 1;
worker-connections 16;
pool t { server tcp 127.0.0.1:@{[ $tcp->port ]}; }
virtual-service tcp { listen 127.0.0.1:0; pool t; monitor off; }
virtual-service echo { listen 127.0.0.1:0/udp; $common monitor off; idle-timeout 2s; }
CONF
	my $to = name_of('127.0.0.1', $sy->port('echo'));
	my @clients = map { client() } 1 .. 20;
	my @served = grep { ask($_, $to, 'a', 0.2) } @clients;
	is(scalar @served, 12, 'flows take three quarters of worker-connections');
	is(metrics($sy, 'echo')->{refused} + metrics($sy, 'echo')->{failed}, 8, 'the others are counted');
	my $conn = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('tcp'));
	like(scalar <$conn>, qr/^hello tcp/, 'connections are still served');
	close $conn;
	kill 'QUIT', $sy->{pid};
	$sy->wait_log(qr/master: .*(stop|drain)/i);
	ok(ask($served[0], $to, 'b'), 'a flow goes on during a graceful stop');
	ok(!ask(client(), $to, 'c', 0.3), 'no new one begins');
	Steelyard::wait_for('the end', sub { !$sy->alive });
	is($sy->{status}, 0, 'the daemon leaves when the last flow was idle');
};

subtest 'a killed worker' => sub {
	my $sy = Steelyard->start($pool . "virtual-service echo { listen 127.0.0.1:0/udp; $common monitor off; }\n");
	my @clients = map { client() } 1 .. 4;
	my $to = name_of('127.0.0.1', $sy->port('echo'));
	my @first = map { [(ask($_, $to, 'first'))[0, 1]] } @clients;
	my ($lost, $moved, $repeated, $kills) = (0, 0, 0, 0);
	for my $n (1 .. 200) {
		if ($n % 20 == 10) {
			my $index = $kills++ % 2;
			my $pid = $sy->pid_of('worker', $index);
			kill 'KILL', $pid if $pid;
		}
		my $i = $n % @clients;
		my ($name, $peer, undef, undef, $tries) = insist($clients[$i], $to, "n$n", 40);
		if (!$name) {
			$lost++;
			next;
		}
		$repeated++ if $tries > 1;
		$moved++ if "$name $peer" ne "@{ $first[$i] }";
		if ($n % 20 == 19) {
			Steelyard::wait_for('both workers', sub {
				2 == grep { $_->{role} eq 'worker' && ($_->{state} // '') eq 'ready' } @{ $sy->processes };
			}) if $sy->processes->[0]{state};
		}
	}
	is($kills, 10, 'ten kills');
	is($lost, 0, 'in two hundred round trips, none lost');
	is($moved, 0, 'the servers saw one source port for each client');
	cmp_ok($repeated, '<=', 10, "$repeated were in flight and were said again");
	Steelyard::wait_for('the count to be right', sub { (metrics($sy, 'echo')->{active} // 0) <= 4 });
	is(metrics($sy, 'echo')->{total}, 4, 'and all are still the same four flows');
};

done_testing;
