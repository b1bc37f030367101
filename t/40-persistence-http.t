#!/usr/bin/env perl
# Persistence of HTTP with real requests: cookies of ours and of the servers, Lync's rules for its
# cookie to the letter, fields, paths, parameters, and clients behind a proxy.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX ();
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# A server tells its name, and what cookies it heard; /login sets one of its own.
sub web {
	my ($name, %opt) = @_;
	return Steelyard->server($name, %opt, on => sub {
		my ($sock) = @_;
		return if fork;
		POSIX::close($_) for grep { $_ != fileno $sock } 3 .. 63; # the listening socket ends with its owner
		$sock->autoflush(1);
		while (1) {
			my $head = '';
			while (my $line = <$sock>) {
				$head .= $line;
				last if $line =~ /^\r?\n/;
			}
			POSIX::_exit(0) unless length $head;
			my $more = $head =~ m{^GET /login} ? "Set-Cookie: SID=$name$$-" . int(rand 1e9) . "; Path=/\r\n" : '';
			print $sock "HTTP/1.1 200 OK\r\nContent-Length: ", length $name, "\r\n$more\r\n$name";
		}
	});
}

sub dial { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Timeout => 10) or die "dial: $@" }

# One request on an open connection: { head, body, cookie => [...] }.
sub ask {
	my ($sock, $path, @fields) = @_;
	print $sock join "\r\n", "GET $path HTTP/1.1", 'Host: web.example.net', @fields, '', '';
	my ($head, $body) = ('', '');
	while (my $line = <$sock>) {
		$head .= $line;
		last if $line =~ /^\r?\n/;
	}
	my ($len) = $head =~ /^content-length:\s*(\d+)/im;
	read $sock, $body, $len if $len;
	return { head => $head, body => $body, cookie => [$head =~ /^set-cookie:\s*([^\r\n]*)/gim] };
}
sub once { my ($port, @ask) = @_; return ask(dial($port), @ask) }

my %server = map { $_ => web($_) } qw(a b c);
my $pool = 'pool p { ' . join(' ', map { "server $_ 127.0.0.1:" . $server{$_}->port . ';' } sort keys %server) . ' }';
open my $key, '>', "$dir/key" or die $!;
print $key "a secret of more than sixteen bytes\n";
close $key;
my $conf = <<"CONF";
$pool
pool q { server a 127.0.0.1:@{[$server{a}->port]}; server d 127.0.0.1:@{[$server{b}->port]}; }
virtual-service insert { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin;
	persistence cookie { key $dir/key; }
	monitor tcp { interval 300ms; rise 1; fall 1; } }
virtual-service wsman { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence cookie { name MS-WSMAN; key $dir/key; } }
virtual-service learn { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence cookie { mode learn; name SID; } }
virtual-service fallback { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence cookie { fallback source; } }
virtual-service header { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence header { name X-User; } }
virtual-service url { listen 127.0.0.1:0; pool p; protocol http; scheduler source-hash; monitor off;
	persistence url { depth 1; } }
virtual-service query { listen 127.0.0.1:0; pool p; protocol http; scheduler source-hash; monitor off;
	persistence query { name m; } }
virtual-service proxied { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence source { forwarded-from 127.0.0.0/8; } }
CONF
my $s = Steelyard->start($conf);
$s->wait_up('insert', $_) for sort keys %server;
my %port = map { $_ => $s->port($_) } qw(insert wsman learn fallback header url query proxied);

# The pair that goes back, and what it names.
sub pair { my ($answer) = @_; my ($pair) = ($answer->{cookie}[0] // '') =~ /^([^;]+)/; return $pair // 'none' }

my %cookie; # server => "LBID=..."
my $sock = dial($port{insert});
for (1 .. 12) {
	my $answer = ask($sock, '/');
	$cookie{ $answer->{body} } = pair($answer);
}
is_deeply([sort keys %cookie], [qw(a b c)], 'without a cookie requests are balanced, on one connection, too');
is(scalar(grep { /^LBID=[0-9a-f]{16}$/ } values %cookie), 3, 'each answer brings one');
for my $name (sort keys %cookie) {
	my @got = map { ask($sock, '/', "Cookie: x=1; $cookie{$name}; y=2") } 1 .. 3;
	is(join('', map { $_->{body} } @got), $name x 3, "$name: the cookie brings its server, on the same connection");
	is(scalar(map { @{ $_->{cookie} } } @got), 0, 'and no new cookie');
}
is(scalar(@{ $s->api('GET', '/v1/persistence?service=insert')->{entries} }), 0, 'nothing is stored');

subtest 'Lync\'s rules' => sub {
	my $sock = dial($port{wsman});
	my (%by, @bad);
	for (1 .. 9) {
		my $answer = ask($sock, '/');
		my ($cookie, @more) = @{ $answer->{cookie} };
		push @bad, 'none' unless defined $cookie;
		push @bad, "more: @more" if @more;
		push @bad, $cookie unless ($cookie // '') =~ /^MS-WSMAN=[0-9a-f]{16}; Path=\/$/;
		$by{ $answer->{body} }{ pair($answer) }++;
	}
	is_deeply(\@bad, [], 'each request without it gets it, on one connection: no end, readable by scripts');
	is(scalar(keys %by), 3, 'each request is balanced by itself');
	is_deeply([map { scalar keys %{ $by{$_} } } sort keys %by], [1, 1, 1], 'a server has one value, whoever the client is');
	my ($name) = sort keys %by;
	my ($pair) = keys %{ $by{$name} };
	my $answer = ask($sock, '/', "Cookie: $pair");
	is($answer->{body}, $name, 'who brings it comes to its server');
	is(scalar(@{ $answer->{cookie} }), 0, 'and gets no other');
};

subtest 'drained and down' => sub {
	$s->ctl('drain', 'b', '--service', 'insert');
	Steelyard::wait_for('the drain', sub { !grep { once($port{insert}, '/')->{body} eq 'b' } 1 .. 4 });
	is(once($port{insert}, '/', "Cookie: $cookie{b}")->{body}, 'b', 'a drained server is there for who knows it');
	$s->ctl('enable', 'b', '--service', 'insert');
	$server{b}->kill;
	$s->wait_down('insert', 'b');
	my $answer = once($port{insert}, '/', "Cookie: $cookie{b}");
	isnt($answer->{body}, 'b', 'one that is down is not');
	is(pair($answer), $cookie{ $answer->{body} }, 'and the client gets the cookie of another');
	$server{b} = web('b', port => $server{b}->port);
	$s->wait_up('insert', 'b');
};

subtest 'another balancer, and a restart' => sub {
	my $other = Steelyard->start(<<"CONF");
$pool
virtual-service elsewhere { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence cookie { key $dir/key; } }
virtual-service stranger { listen 127.0.0.1:0; pool p; protocol http; scheduler round-robin; monitor off;
	persistence cookie { key-text "another secret of ours"; } }
CONF
	for my $name (sort keys %cookie) {
		is(once($other->port('elsewhere'), '/', "Cookie: $cookie{$name}")->{body}, $name, "$name: with the same key");
	}
	my $answer = once($other->port('stranger'), '/', "Cookie: $cookie{a}");
	isnt(pair($answer), 'none', 'with another key it names nobody, and a new one is set');
	$other->stop;
};

subtest 'learned from the servers' => sub {
	for my $turn (1 .. 3) {
		my $login = once($port{learn}, '/login');
		my $pair = pair($login);
		like($pair, qr/^SID=\Q$login->{body}\E/, "turn $turn: the servers' own cookie passes");
		is(scalar(@{ $login->{cookie} }), 1, 'and no other');
		is(join('', map { once($port{learn}, '/', "Cookie: $pair")->{body} } 1 .. 4), $login->{body} x 4,
			'its client comes back');
	}
	my $entries = $s->api('GET', '/v1/persistence?service=learn')->{entries};
	is(scalar(@$entries), 3, 'an entry for each');
	ok(!(grep { $_->{key} !~ /^SID #[0-9a-f]{16}$/ } @$entries), 'that does not tell the cookie');
};

my $first = once($port{fallback}, '/');
is(join('', map { once($port{fallback}, '/')->{body} } 1 .. 4), $first->{body} x 4, 'without cookies, by address');
for my $user (qw(anna bert carl)) {
	my $body = once($port{header}, '/', "X-User: $user")->{body};
	is(join('', map { once($port{header}, '/', "x-user: $user")->{body} } 1 .. 3), $body x 3, "the field brings $user back");
}
my (%url, %query);
for my $i (1 .. 20) {
	my $body = once($port{url}, "/part$i/x")->{body};
	$url{$body}++;
	is(once($port{url}, "/part$i/y?z")->{body}, $body, "below /part$i it is one server") if $i <= 4;
	$body = once($port{query}, "/$i?a=b&m=$i")->{body};
	$query{$body}++;
	is(once($port{query}, "/other?m=$i")->{body}, $body, "m=$i: one server") if $i <= 4;
}
is(scalar(keys %url), 3, 'paths are spread over all');
is(scalar(keys %query), 3, 'parameters, too');
is(scalar(@{ $s->api('GET', '/v1/persistence?service=url')->{entries} }), 0, 'without a table');
my %proxied;
for my $i (1 .. 6) {
	my $body = once($port{proxied}, '/', "X-Forwarded-For: 203.0.113.9, 192.0.2.$i")->{body};
	$proxied{$body}++;
	is(once($port{proxied}, '/', "X-Forwarded-For: 192.0.2.$i")->{body}, $body, "behind a proxy: client $i has one server");
}
is(scalar(keys %proxied), 3, 'and not all of them the same');
my $explained = $s->api('GET', '/v1/explain?service=url&client=127.0.0.1');
like(join(' ', @{ $explained->{steps} }), qr/source-hash/, 'explain says who chooses');
my $odd = $conf =~ s/scheduler source-hash; monitor off;\n\tpersistence url/scheduler round-robin; monitor off;\n\tpersistence url/r;
my ($ok, $text) = $s->reload($odd);
ok($ok, 'a scheduler that does not hash is no error');
$s->wait_log(qr/persistence url keeps nothing \(timeout 0\), and scheduler round-robin does not go by keys/);
pass('but said to be without effect');
is($s->stop, 0, 'it ends well');
done_testing();
