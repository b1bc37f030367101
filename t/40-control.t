#!/usr/bin/env perl
# The control API and steelyardctl: every path and command, errors in words, who may change things,
# and that a crowd at the console does not touch the data plane.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Time::HiRes qw(time);

my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
my $conf = sub {
	my $more = shift // '';
	return <<CONF . $more;
console { listen 127.0.0.1:0; }
pool p {
	server s1 127.0.0.1:@{[ $s1->port ]};
	server s2 127.0.0.1:@{[ $s2->port ]} weight=50;
}
virtual-service web {
	listen 127.0.0.1:0;
	pool p;
	persistence source { timeout 10m; }
	scheduler round-robin;
	monitor tcp { interval 200ms; rise 1; fall 1; }
}
virtual-service other {
	listen 127.0.0.2:0;
	pool p;
	monitor tcp { interval 200ms; rise 1; fall 1; }
}
CONF
};
my $sy = Steelyard->start($conf->());
my $console = $sy->console_port;
$sy->wait_up($_, 's1'), $sy->wait_up($_, 's2') for qw(web other);
my $port = $sy->port('web');
ok($port, "port 0 is reported as it is: $port");

sub client {
	my $sock = IO::Socket::INET->new(PeerAddr => $_[0] || '127.0.0.1', PeerPort => $_[1] || $port, Timeout => 10)
		or die "connect: $@";
	return $sock;
}

sub say_hello {
	my $sock = shift;
	print $sock "hello\n";
	my $line = <$sock> // '';
	return $line =~ /^(\w+): hello/ ? $1 : undef;
}

my $conn = client();
my $where = say_hello($conn);
ok($where, "a client reaches a server: $where");

subtest 'looking' => sub {
	my $status = $sy->api('GET', '/v1/status');
	is($status->{services_total}, 2, 'two services');
	is($status->{services_down}, 0, 'none down');
	ok($status->{well}, 'all is well');
	my $index = $sy->api('GET', '/v1');
	ok(@{ $index->{routes} } > 15, 'the index lists the routes');
	for my $route (grep { $_->{method} eq 'GET' && $_->{path} =~ m{^/v1} && $_->{path} !~ /\*|explain|effect|stream/ } @{ $index->{routes} }) {
		next if $route->{path} eq '/v1/config';
		my ($data, $code) = $sy->api('GET', $route->{path});
		is($code, 200, "GET $route->{path}");
	}
	my $web = $sy->api('GET', '/v1/services/web');
	is($web->{state}, 'up', 'web is up');
	is($web->{active}, 1, 'one connection');
	is($web->{scheduler}, 'round-robin', 'its scheduler');
	my ($seat) = grep { $_->{name} eq $where } @{ $web->{servers} };
	is($seat->{active}, 1, "it is on $where");
	my $list = $sy->api('GET', '/v1/connections?service=web')->{connections};
	is(scalar @$list, 1, 'the list has it');
	is($list->[0]{client}, '127.0.0.1:' . $conn->sockport, 'with the client');
	is($list->[0]{server}, $where, 'and the server');
	like($list->[0]{server_address}, qr/^127\.0\.0\.1:\d+$/, 'and its address');
	ok(defined $list->[0]{age_ms}, 'and an age');
	is(scalar @{ $sy->api('GET', '/v1/connections?service=other')->{connections} }, 0, 'filtered by service');
	my $entries = $sy->api('GET', '/v1/persistence');
	is(scalar @{ $entries->{entries} }, 1, 'one persistence entry');
	is($entries->{entries}[0]{server}, $where, 'that names the server');
	like($entries->{entries}[0]{key}, qr/^127\.0\.0\.1/, 'and the client');
	my %roles = map { $_->{role} => 1 } @{ $sy->processes };
	is_deeply([ sort keys %roles ], [qw(checker console worker)], 'the roles');
};

subtest 'explain' => sub {
	my $told = $sy->api('GET', '/v1/explain?service=web&client=127.0.0.1');
	my ($chosen) = grep { $_->{chosen} } @{ $told->{servers} };
	is($chosen->{name}, $where, 'persistence decides for a known client');
	like("@{ $told->{steps} } $told->{outcome}", qr/persist/, 'and it says so');
	$told = $sy->api('GET', '/v1/explain?service=web&client=192.0.2.77');
	is(scalar(grep { $_->{chosen} } @{ $told->{servers} }), 1, 'an unknown client gets a server');
	my ($text, $code) = $sy->ctl('explain', 'web', '--client', '192.0.2.77');
	is($code, 0, 'steelyardctl explain');
	like($text, qr/s1.*s2/s, 'names both servers');
	($text, $code) = $sy->ctl('explain', 'web', '--client', 'nonsense');
	is($code, 1, 'a client that is no address is refused');
	like($text, qr/nonsense/, 'by name');
};

subtest 'commands' => sub {
	for my $command ([qw(status)], [qw(services)], [qw(services web)], [qw(servers)], [qw(servers s1)],
		[qw(connections)], [qw(persistence)], [qw(persistence list)], [qw(processes)], [qw(generations)],
		[qw(checks)], [qw(check)], [qw(events)], [qw(show config)], [qw(log-level debug)], [qw(log-level info)]) {
		my ($text, $code) = $sy->ctl(@$command);
		is($code, 0, "steelyardctl @$command") or diag $text;
		my ($long) = grep { length > 80 } split /\n/, $text;
		is($long, undef, "@$command fits 80 columns") unless "@$command" eq 'show config';
	}
	for my $command (qw(status services servers connections persistence processes generations checks events)) {
		my ($text) = $sy->ctl('--json', $command);
		ok(eval { JSON::PP::decode_json($text) }, "--json $command");
	}
	like(scalar $sy->ctl('show', 'config'), qr/virtual-service web \{.*steelyard\.conf:\d+/s, 'the configuration with places');
	unlike(scalar $sy->ctl('status'), qr/\033/, 'no colour when it is not a terminal');
};

subtest 'wishes' => sub {
	my $other = $where eq 's1' ? 's2' : 's1';
	my ($text, $code) = $sy->ctl('drain', $other);
	is($code, 0, 'drain') or diag $text;
	is($sy->seat('web', $other)->{state}, 'drain', 'it shows');
	is($sy->seat('other', $other)->{state}, 'drain', 'in each service');
	my %seen;
	for (1 .. 6) {
		my $c = client('127.0.0.2', $sy->port('other'));
		$seen{ say_hello($c) }++;
	}
	is_deeply([ keys %seen ], [$where], 'new clients go elsewhere');
	my ($status, $state) = $sy->ctl('status');
	is($state, 1, 'status says that not all is as it should be');
	like($status, qr/$other\s.*drain/, 'and what');
	($text, $code) = $sy->ctl('enable', $other);
	is($code, 0, 'enable');
	is($sy->seat('web', $other)->{state}, 'up', 'up again');
	$sy->ctl('disable', $where, '--service', 'web');
	is($sy->seat('web', $where)->{state}, 'disabled', 'disabled in one service');
	is($sy->seat('other', $where)->{state}, 'up', 'not in the other');
	is(say_hello($conn), $where, 'a connection that is there stays');
	is(say_hello(client()), $other, 'persistence does not keep a client on a disabled server');
	$sy->ctl('enable', $where, '--service', 'web');
	$sy->ctl('weight', 's2', '7');
	is($sy->seat('web', 's2')->{weight}, 7, 'another weight');
	is($sy->seat('web', 's2')->{weight_configured}, 50, 'beside the configured one');
	$sy->ctl('weight', 's2', 'configured');
	is($sy->seat('web', 's2')->{weight}, 50, 'and back');
};

subtest 'a reload keeps wishes, and says what is wrong' => sub {
	$sy->ctl('drain', 's2');
	my ($ok, $text) = $sy->reload($conf->("# nothing new\n"));
	ok($ok, 'reload') or diag $text;
	is($sy->seat('web', 's2')->{state}, 'drain', 'the wish is still there');
	$sy->ctl('enable', 's2');
	($ok, $text) = $sy->reload($conf->("virtual-service broken { listen 127.0.0.1:0; pool q; }\n"));
	ok(!$ok, 'a broken one is refused');
	like($text, qr/steelyard\.conf:\d+: .*\bq\b/, 'with file, line and name');
	($ok, $text) = $sy->reload($conf->());
	ok($ok, 'repaired, it is taken') or diag $text;
	is(say_hello($conn), $where, 'the connection saw nothing of it');
};

subtest 'refusals are sentences' => sub {
	my @attempts = (
		['GET', '/v1/services/wob', undef, 404, qr/did you mean web/],
		['GET', '/v1/nothing', undef, 404, qr/there is no/],
		['PUT', '/v1/services', undef, 405, qr/not for/],
		['POST', '/v1/servers/s9', { wish => 'drain' }, 404, qr/did you mean s/],
		['POST', '/v1/servers/s1', { wish => 'drain', pool => 'nope' }, 404, qr/pool nope has no server s1/],
		['POST', '/v1/servers/s1', { wish => 'explode' }, 400, qr/drain/],
		['POST', '/v1/servers/s1', { weight => 70000 }, 400, qr/65535/],
		['POST', '/v1/servers/s1', { weight => -1 }, 400, qr/65535/],
		['POST', '/v1/log-level', { level => 'loud' }, 400, qr/debug/],
		['POST', '/v1/stop', { how => 'maybe' }, 400, qr/graceful/],
		['DELETE', '/v1/connections', undef, 400, qr/service=/],
		['GET', '/v1/explain', undef, 400, qr/service=/],
		['GET', '/v1/explain?service=web', undef, 400, qr/client=/],
	);
	for my $attempt (@attempts) {
		my ($method, $path, $body, $code, $words) = @$attempt;
		my ($data, $got) = $sy->api($method, $path, $body);
		is($got, $code, "$method $path: $code");
		like($data->{error}, $words, 'in words');
	}
	my ($text, $code) = $sy->ctl('drian', 's1');
	is($code, 2, 'an unknown command');
	like($text, qr/did you mean drain/, 'is guessed');
	for (['close --client 192.0.2.1 --pool p', qr/close takes no --pool \(closes connections; --service --server --client\)/],
			['drain s1 --client 192.0.2.1', qr/drain takes no --client/], ['reload --limit 5', qr/reload takes no --limit/],
			['close --service web --client ' . 'x' x 400, qr/the client is too long: x+\.\.\./]) {
		($text, $code) = $sy->ctl(split ' ', $_->[0]);
		is($code, 2, substr($_->[0], 0, 40) . ': nothing is done with what would be left out');
		like($text, $_->[1], 'and it says so');
	}
	($text, $code) = $sy->ctl('drain', 's1x');
	is($code, 1, 'an unknown server');
	like($text, qr/did you mean s1/, 'is guessed');
};

sub tcp_request {
	my ($bytes, $limit) = @_;
	my $sock = client('127.0.0.1', $console);
	print $sock $bytes;
	local $/;
	my $answer = <$sock>;
	return $answer // '';
}

subtest 'over TCP one may only look' => sub {
	like(tcp_request("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), qr{^HTTP/1.1 200}, 'looking');
	like(tcp_request("POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
		qr{^HTTP/1.1 403.*control socket}s, 'changing is refused, with where to do it');
	like(tcp_request("GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), qr{^HTTP/1.1 403}, 'a name that is not ours is refused');
	like(tcp_request("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), qr{^HTTP/1.1 404}, 'no files here');
	like(tcp_request("\x16\x03\x01garbage\r\n\r\n"), qr{^(HTTP/1\.\d 4\d\d|$)}, 'garbage');
	like(tcp_request("GET /" . 'a' x 40000 . " HTTP/1.1\r\nHost: localhost\r\n\r\n"), qr{^HTTP/1\.\d 4\d\d}, 'a path without end');
};

subtest 'big and slow' => sub {
	my ($data, $code) = $sy->api('POST', '/v1/log-level', { level => 'x' x 100_000 });
	is($code, 413, 'a body over the limit');
	my $sock = IO::Socket::UNIX->new(Peer => $sy->{control});
	print $sock "POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{not json";
	my $line = <$sock>;
	like($line, qr/ 400 /, 'a body that is not JSON');
};

subtest 'a crowd at the console' => sub {
	my @crowd;
	for (1 .. 950) {
		# Who comes faster than the console accepts waits a moment; who finds it full goes.
		my $sock;
		for (1 .. 50) {
			$sock = IO::Socket::UNIX->new(Peer => $sy->{control}, Timeout => 2) and last;
			select undef, undef, undef, 0.01;
		}
		last unless $sock;
		push @crowd, $sock;
		print $sock "GET /v1/sta" if $_ % 2;
	}
	cmp_ok(scalar @crowd, '>', 300, scalar(@crowd) . ' connections');
	my $start = time;
	my $good = grep { say_hello(client()) } 1 .. 50;
	is($good, 50, sprintf 'fifty exchanges meanwhile (%.2f s)', time - $start);
	@crowd = ();
	ok($sy->api('GET', '/v1/status'), 'and it answers again');
};

subtest 'closing connections' => sub {
	my @conns = map { client('127.0.0.2', $sy->port('other')) } 1 .. 5;
	say_hello($_) for @conns;
	my ($text, $code) = $sy->ctl('close', '--service', 'other');
	is($code, 0, 'close') or diag $text;
	like($text, qr/^5 connections closed/, 'five of them');
	for my $c (@conns) {
		my $n = sysread $c, my $bytes, 10;
		ok(!$n, 'closed');
	}
	is(say_hello($conn), $where, 'the other service kept its own');
	for (['--service' => 'othr', qr/no service othr; did you mean other/], ['--server' => 's1x', qr/no such server: s1x; did you mean s1/],
			['--client' => '192.0.2', qr/not 192\.0\.2/]) {
		my ($option, $value, $words) = @$_;
		for my $command ('close', 'connections') {
			($text, $code) = $sy->ctl($command, $option, $value);
			is($code, 1, "$command $option with what nobody knows");
			like($text, $words, 'is no answer of 0');
		}
	}
	($text, $code) = $sy->ctl('persistence', 'clear', '--service', 'web');
	like($text, qr/entries cleared/, 'persistence is clearable');
	is(scalar @{ $sy->api('GET', '/v1/persistence')->{entries} }, 0, 'and gone');
};

subtest 'a server that is down, in one look' => sub {
	$s1->kill;
	$sy->wait_down('web', 's1');
	$sy->wait_down('other', 's1');
	my ($text, $code) = $sy->ctl('status');
	is($code, 1, 'exit status 1');
	like($text, qr/web\s+degraded/, 'degraded');
	like($text, qr/s1\s+web\s+down.*s1\s+other\s+down/s, 'the server in each of its services');
	like($text, qr/refused/, 'and why');
	my $events = $sy->api('GET', '/v1/events');
	ok((grep { $_->{words} =~ /s1.*down/ } @{ $events->{events} }), 'an event tells it');
};

is($sy->stop('TERM'), 0, 'it ends well');
done_testing;
