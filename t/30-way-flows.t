#!/usr/bin/env perl
# Client connections that others reach by name, in whatever worker they are; and clients and servers that
# speak in datagrams. way-reach.c says what its clients may say.
use strict;
use warnings;
no warnings "portable"; # numbers of 64 bits
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use IO::Select;
use IO::Socket::IP;
use Socket qw(SOCK_DGRAM);
use Steelyard;
use Time::HiRes qw(time);
use Way qw(modules_and dial say hear ending cut lines_since mark);

my $modules = modules_and('protocol/reach');

# "NAME N TEXT": what came in one datagram, its length, and its first 20 bytes.
package Mirror {
	sub new {
		my ($class, $name, $port) = @_;
		my $sock = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => $port || 0, Type => Socket::SOCK_DGRAM)
			or die "mirror $name: $@";
		my $self = bless { port => $sock->sockport, owner => $$ }, $class;
		$self->{pid} = fork // die "fork: $!";
		return $self if $self->{pid};
		Steelyard::die_with_parent();
		$SIG{TERM} = 'DEFAULT';
		while (1) {
			my $from = $sock->recv(my $said, 65536) // next;
			$sock->send("more " . 'y' x 5000 . "\n", 0, $from) if $said =~ /^long/;
			$said = $sock->peerhost . "\n" if $said =~ /^peer/;
			$sock->send("$name " . length($said) . ' ' . substr($said =~ s/\n//gr, 0, 20) . "\n", 0, $from);
		}
	}
	sub kill { my $self = shift; CORE::kill('KILL', $self->{pid}); waitpid delete $self->{pid}, 0 }
	sub DESTROY { my $self = shift; local ($?, $!); $self->kill if $self->{pid} && $self->{owner} == $$ }
}

my $t1 = Steelyard->server('t1');
my $u1 = Mirror->new('u1', $t1->port);
my $dead = Steelyard::free_port('udp');
my $common = 'monitor off; scheduler round-robin; connect-timeout 1500ms;';
my $conf = <<CONF;
workers 4;
pool t { server t1 127.0.0.1:@{[ $t1->port ]}; }
pool u { transport udp; server u0 127.0.0.1:$dead; server u1 127.0.0.1:$u1->{port}; }
pool s { transport tcp; server t1 127.0.0.1:@{[ $t1->port ]}; }
virtual-service calls { listen 127.0.0.1:0; listen 127.0.0.1:0/udp; protocol reach; pool t; $common }
virtual-service up { listen 127.0.0.1:0; listen 127.0.0.1:0/udp; protocol reach; pool u; snat 127.0.0.9; $common }
virtual-service down { listen 0.0.0.0:0/udp; protocol reach; pool s; idle-timeout 2s; $common }
virtual-service plain { listen 127.0.0.1:0; protocol reach { plain on; } pool t; $common }
CONF
my $sy = Steelyard->start($conf, modules => $modules);
my %port = map { $_ => $sy->port($_) } qw(calls up down plain);
my %udp = (calls => $sy->port('calls', 1), up => $sy->port('up', 1), down => $port{down});

sub name_of { my $sock = shift; say($sock, "name\n"); return (split / /, hear($sock, qr/\n/))[1] }
sub worker_of { return unpack('Q<', pack 'H*', substr $_[0], 16, 16) % 64 }
sub client { my $sock = dial($port{calls}); return { sock => $sock, name => name_of($sock) } }
# A client in that worker, or in another one.
sub client_in {
	my ($worker, $not) = @_;
	return Steelyard::wait_for('a client in the right worker', sub {
		my $client = client();
		return (worker_of($client->{name}) == $worker xor $not) && $client;
	});
}
sub udp_client {
	my $port = shift;
	return IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port, Type => SOCK_DGRAM, @_) || die $@;
}
# One datagram; undef when none comes.
sub packet { my ($sock, $wait) = @_;
	IO::Select->new($sock)->can_read($wait // $Steelyard::LIMIT) or return undef;
	$sock->recv(my $said, 65536) // return undef;
	return $said;
}
sub ask { my ($sock, $text, $wait) = @_; $sock->send($text); return packet($sock, $wait) }
sub open_now { return scalar @{ $sy->api('GET', '/v1/connections')->{connections} } }
sub reasons { my ($service, $reason) = @_;
	my $list = $sy->api('GET', "/v1/reasons?service=$service")->{reasons};
	my ($at) = grep { $_->{reason} eq $reason } @$list;
	return $at ? $at->{total} : 0;
}

my (@clients, %of);
subtest 'names' => sub {
	@clients = map { client() } 1 .. 200;
	my %seen = map { $_->{name} => 1 } @clients;
	is(scalar keys %seen, 200, '200 clients have 200 names');
	push @{ $of{ worker_of($_->{name}) } }, $_ for @clients;
	is(scalar keys %of, 4, 'they are spread over 4 workers: ' . join ' ', map { scalar @$_ } values %of);
	is(name_of($clients[0]{sock}), $clients[0]{name}, 'a name stays');
	say($_->{sock}, "name\n") for @clients;
	my %secrets = map { (split / /, hear($_->{sock}, qr/\n/))[3] => 1 } @clients;
	is(join(' ', map length, keys %secrets), '64', 'the secret is the same everywhere');
	my $plain = dial($port{plain});
	is(name_of($plain), '', 'no names with settings that do not use them');
};

subtest 'everybody is reached from everywhere' => sub {
	for my $server (map { client_in($_) } sort keys %of) {
		say($server->{sock}, join '', map { "to $clients[$_]{name} question $_\n" } 0 .. $#clients);
		my @wrong;
		for my $i (0 .. $#clients) {
			my $heard = hear($clients[$i]{sock}, qr/\n/);
			my ($n) = $heard =~ /^out (\d+) question $i\n\z/ or push @wrong, "$i: $heard";
			say($clients[$i]{sock}, "answer $n answer $i\n") if $n && $n >= 0x80000000;
		}
		is_deeply(\@wrong, [], 'each of 200 clients hears what is for it, and nothing else');
		my $all = hear($server->{sock}, qr/(?:\n[^\n]*){199}\n/);
		is_deeply([ sort split /\n/, $all ], [ sort map { "answer $_" } 0 .. $#clients ], 'and all answers come back');
	}
	is(Steelyard::wait_for('exchanges to be over', sub { open_now() == 200 }), 1, 'nothing is left of the exchanges');
	my ($here, $there) = (client_in((keys %of)[0]), client_in((keys %of)[0], 1));
	for my $to ($here, $there) {
		say($here->{sock}, "to $to->{name} who\n");
		my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
		say($to->{sock}, "answer $n where\n");
		is(hear($here->{sock}, qr/\n/), "where server=none port=@{[ $to->{sock}->sockport ]} datagram=0 flow_service=$port{calls}\n",
			'what is told of a client ' . ($to == $here ? 'in this worker' : 'in another'));
	}
};

subtest 'much, in parts' => sub {
	my $to = client();
	for my $server ($to, client_in(worker_of($to->{name}), 1)) {
		say($server->{sock}, "to $to->{name} big\n");
		my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
		my $more = 'more ' . 'x' x 3000 . "\n";
		say($to->{sock}, "part $n $more") for 1 .. 200;
		say($to->{sock}, "answer $n last\n");
		my $all = hear($server->{sock}, qr/last\n\z/);
		is(length $all, 200 * length($more) + 5, 'all of it comes' . ($server == $to ? '' : ', from another worker'));
	}
};

subtest 'who is gone' => sub {
	my ($server, $to) = (client(), client());
	for my $client ($to, client_in(worker_of($server->{name})), client_in(worker_of($server->{name}), 1)) {
		say($server->{sock}, "to $client->{name} one\n");
		hear($client->{sock}, qr/out \d+ one\n/);
		close $client->{sock};
		is(hear($server->{sock}, qr/\n/), "FAIL broken\n", 'it leaves in the middle');
		say($server->{sock}, "to $client->{name} two\n");
		is(hear($server->{sock}, qr/\n/), "FAIL connect\n", 'and is not there');
	}
	my $name = client()->{name};
	for my $wrong ('', substr($name, 0, 30), "${name}00", '0' x 32, substr($name, 0, 16) . 'f' x 16,
			'1' . substr($name, 1), 'f' x 64) {
		say($server->{sock}, "to $wrong one\n");
		is(hear($server->{sock}, qr/\n/), $wrong eq '' ? "t1: one\n" : "FAIL connect\n", "a name that never was: '$wrong'");
	}
	for my $not (0, 1) {
		my $to = client_in(worker_of($server->{name}), $not);
		for my $how (sub { close $_[0] }, \&cut) {
			my $asks = client_in(worker_of($server->{name}));
			say($asks->{sock}, "to $to->{name} one\n");
			my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
			$how->($asks->{sock});
			is(hear($to->{sock}, qr/\n/), "gone $n\n", 'who asked leaves: the client is told');
		}
		is(name_of($to->{sock}), $to->{name}, 'and lives');
		say($server->{sock}, "to $to->{name} enough\n");
		my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
		say($to->{sock}, "part $n all\n");
		is(hear($server->{sock}, qr/\n/), "all\n", 'an answer');
		is(hear($to->{sock}, qr/\n/), "gone $n\n", 'and the client is told if it wanted to say more');
	}
	# In the log the client's own end of an exchange is not taken for the loss of the client.
	for my $how ([ sub { say($_[0]{sock}, "end $_[1]\n") }, 'server-done' ], [ sub { cut($_[0]{sock}) }, 'server-reset' ]) {
		my ($to, $asks) = map { client_in(worker_of($server->{name})) } 1 .. 2;
		say($asks->{sock}, "to $to->{name} one\n");
		my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
		mark($sy);
		$how->[0]->($to, $n);
		is(hear($asks->{sock}, qr/\n/), "FAIL broken\n", 'no answer');
		my $from = $asks->{sock}->sockport;
		my $line = Steelyard::wait_for('the line of the exchange', sub { (grep { / client=\S+:$from / && / parent=/ } lines_since($sy))[0] });
		is($line =~ / end=(\S+)/ ? $1 : $line, $how->[1], "which is told as $how->[1]");
	}
	for my $to (client_in(worker_of($server->{name})), client_in(worker_of($server->{name}), 1)) {
		say($server->{sock}, "to $to->{name} late\n");
		my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
		is(hear($server->{sock}, qr/\n/), "FAIL late\n", 'one that does not answer');
		like(hear($to->{sock}, qr/\n/), qr/^gone $n\b/, 'hears that nobody waits any more');
		say($to->{sock}, "answer $n too late\n");
		is(name_of($to->{sock}), $to->{name}, 'and what it says then is lost');
	}
	# More than may be open at once.
	$to = client();
	say($server->{sock}, join '', map { "to $to->{name} wait\n" } 1 .. 257);
	is(hear($server->{sock}, qr/\n/), "FAIL no-server\n", 'one client has 256 at most');
	close $to->{sock};
	is(scalar(() = hear($server->{sock}, qr/(?:FAIL broken\n){256}/) =~ /FAIL broken/g), 256, 'and all of them end with it');
};

# The sockets by which workers reach each other have names that anybody can connect to.
sub hop_of {
	my $pid = shift;
	my %mine = map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
	open my $in, '<', '/proc/net/unix' or return;
	my ($name) = map { (split)[6] =~ /[@](\w+)$/ } grep { my @f = split; @f == 8 && $mine{ $f[6] } && $f[7] =~ /^[@]/ && ($_ = "$f[0] $f[1] $f[2] $f[3] $f[4] $f[5] $f[7]") } <$in>;
	return $name;
}
subtest 'strangers' => sub {
	my $to = client();
	my $hop = hop_of($sy->pid_of('worker', worker_of($to->{name}))) // plan skip_all => 'only root sees the sockets of workers';
	socket(my $sock, Socket::AF_UNIX, Socket::SOCK_STREAM, 0) or die;
	connect($sock, pack 'S a*', Socket::AF_UNIX, "\0$hop") or die "$hop: $!";
	syswrite $sock, pack('Q<', 0x53594c4853504f31) . pack 'H*', $to->{name};
	like(hear($sock, qr/./s), qr/^<(?:end|reset)>\z/, 'who is no worker gets no answer');
	is(name_of($to->{sock}), $to->{name}, 'and reaches nobody');
};

subtest 'a configuration goes' => sub {
	my $server = client();
	my @to = map { client_in($_) } sort keys %of;
	say($server->{sock}, "to $_->{name} before\n") for @to;
	$_->{n} = (hear($_->{sock}, qr/\n/) =~ /^out (\d+)/)[0] for @to;
	# On a machine that is busy a reload takes a while.
	my $patient = $conf =~ s/idle-timeout 2s/idle-timeout 8s/r;
	my ($ok, $text) = $sy->reload("$patient# again\nlog-connections on;\n");
	ok($ok, 'a reload') or diag $text;
	say($_->{sock}, "answer $_->{n} after\n") for @to;
	is(hear($server->{sock}, qr/(?:after\n){4}/), "after\n" x 4, 'what is under way is answered');
	my $late = client();
	say($late->{sock}, "to $_->{name} new\n") for @to;
	is(scalar(grep { hear($_->{sock}, qr/\n/) =~ /new/ } @to), 4, 'the new configuration reaches clients of the old one');
	is(name_of($to[0]{sock}), $to[0]{name}, 'whose names stay');
	my $packets = udp_client($udp{down});
	is(ask($packets, "hello\n"), "t1: hello\n", 'a session in datagrams');
	($ok, $text) = $sy->reload($patient);
	ok($ok, 'another reload') or diag $text;
	is(ask($packets, "hello\n"), "t1: hello\n", 'goes on');
	is(scalar(grep { $_->{service} eq 'down' && $_->{transport} eq 'udp' } @{ $sy->api('GET', '/v1/connections')->{connections} }), 1, 'as the same');
	($ok, $text) = $sy->reload($conf =~ s/^virtual-service down.*\n//mr =~ s/^pool s.*\n//mr);
	ok($ok, 'its service is removed') or diag $text;
	Steelyard::wait_for('it to be gone', sub { !grep { $_->{service} eq 'down' } @{ $sy->api('GET', '/v1/connections')->{connections} } });
	($ok, $text) = $sy->reload($conf);
	ok($ok, 'and comes back') or diag $text;
	$port{down} = $udp{down} = $sy->port('down');
	($ok, $text) = $sy->reload($conf =~ s/^virtual-service down.*\n//mr =~ s/listen 127.0.0.1:0\/udp; protocol reach; pool u/protocol reach { plain on; } pool u/r);
	ok(!$ok, 'streams only, and a server that speaks in datagrams: refused');
	like($text, qr/pool u has transport udp, and protocol reach does not carry messages from TCP to UDP/, 'in words');
	($ok, $text) = $sy->reload($conf =~ s/\{ plain on; \} pool t;/{ plain on; } pool t; listen 127.0.0.1:0\/udp;/r);
	ok(!$ok, 'and so are datagrams');
	like($text, qr/protocol reach .* does not understand datagrams/, 'in words');
};

subtest 'messages in datagrams' => sub {
	my $client = udp_client($udp{calls});
	my $answer = ask($client, "name\n");
	like($answer, qr/^name  127\.0\.0\.1:$udp{calls} \w{64} datagram=1\n\z|^name \w{32} 127\.0\.0\.1:$udp{calls} \w{64} datagram=1\n\z/, 'a client has a name');
	is(ask($client, "hello\n"), "u1 6 hello\n", 'UDP to UDP');
	is(ask($client, 'x' x 3998 . "\n"), 'u1 3999 ' . 'x' x 20 . "\n", 'as long as the window: one datagram');
	my $before = reasons('calls', 'packet-dropped');
	$client->send('y' x 4001);
	$client->send('');
	is(ask($client, "a\nb\n"), "u1 4 ab\n", 'two lines in one datagram are one message; what is too long is dropped');
	is(reasons('calls', 'packet-dropped'), $before + 1, 'and counted');
	is(ask($client, "need\n", 0.3), undef, 'what the module does not take');
	is(reasons('calls', 'packet-dropped'), $before + 2, 'is dropped, too');
	$client->send("$_\n") for 1 .. 50;
	is_deeply([ sort map { packet($client) } 1 .. 50 ], [ sort map { "u1 " . (1 + length) . " $_\n" } 1 .. 50 ], '50 at once, each one message');
	is(ask($client, "long\n"), "u1 5 long\n", "a server's datagram that is too long is dropped, and the next one heard");
	my $down = udp_client($udp{down});
	is(ask($down, "hello\n"), "t1: hello\n", 'UDP to TCP, from a listener of all addresses');
	$down->send("$_\n") for 1 .. 20;
	is_deeply([ sort map { packet($down) } 1 .. 20 ], [ sort map { "t1: $_\n" } 1 .. 20 ], 'and many at once');
	my $up = dial($port{up});
	say($up, "hello\n");
	is(hear($up, qr/\n/), "u1 6 hello\n", 'TCP to UDP');
	my @many = map { udp_client($udp{calls}) } 1 .. 100;
	$_->send("mine " . $_->sockport . "\n") for @many;
	is(scalar(grep { my $port = $_->sockport; packet($_) eq "u1 11 mine $port\n" } grep { $_->sockport > 9999 } @many),
		scalar(grep { $_->sockport > 9999 } @many), '100 clients, each its own answer');
};

subtest 'servers that refuse datagrams' => sub {
	my $up = dial($port{up});
	my $failures = $sy->seat('up', 'u0')->{connect_failures};
	for (1 .. 6) {
		say($up, "again $_\n");
		is(hear($up, qr/\n/), "u1 8 again $_\n", 'another one gets what was said');
	}
	cmp_ok($sy->seat('up', 'u0')->{connect_failures}, '>', $failures, 'a refusal is a failed connect');
	say($up, "peer\n");
	is(hear($up, qr/\n/), "u1 10 127.0.0.9\n", 'from the address that snat says');
	my %got;
	for (1 .. 2) {
		say($up, "once\n");
		$got{ hear($up, qr/\n/) }++;
	}
	is_deeply(\%got, { "FAIL connect\n" => 1, "u1 5 once\n" => 1 }, 'unless it must not be said twice');
	my $client = udp_client($udp{up});
	is(ask($client, "a\n"), "u1 2 a\n", 'the same over UDP') for 1 .. 4;
	$u1->kill;
	say($up, "nobody\n");
	is(hear($up, qr/\n/), "FAIL connect\n", 'nobody is there');
	is(ask($client, "nobody\n"), "FAIL connect\n", 'over UDP, too');
	$u1 = Mirror->new('u1', $t1->port);
};

subtest 'clients that are reached by datagrams' => sub {
	my @to = map { udp_client($udp{calls}) } 1 .. 40;
	# Something begins, so they stay.
	is(scalar(grep { ask($_, "hello\n") } @to), 40, '40 clients');
	my @names = map { (split / /, ask($_, "name\n"))[1] } @to;
	my %spread = map { worker_of($_) => 1 } @names;
	cmp_ok(scalar keys %spread, '>', 1, 'in several workers');
	my $server = client();
	say($server->{sock}, join '', map { "to $names[$_] for $_\n" } 0 .. $#to);
	my @wrong;
	for my $i (0 .. $#to) {
		my $said = packet($to[$i]) // 'nothing';
		my ($n) = $said =~ /^out (\d+) for $i\n\z/ or push @wrong, "$i: $said";
		$to[$i]->send("answer $n from $i\n") if $n;
	}
	is_deeply(\@wrong, [], 'each hears what is for it, in one datagram');
	my $all = hear($server->{sock}, qr/(?:\n[^\n]*){39}\n/);
	is_deeply([ sort split /\n/, $all ], [ sort map { "from $_" } 0 .. $#to ], 'all answers come back');
	say($server->{sock}, "to $names[0] where\n");
	my ($n) = packet($to[0]) =~ /^out (\d+)/;
	$to[0]->send("answer $n where\n");
	is(hear($server->{sock}, qr/\n/), "where server=none port=@{[ $to[0]->sockport ]} datagram=1 flow_service=$udp{calls}\n", 'what is told of it');
	# From a datagram to a stream.
	my $stream = client();
	$to[1]->send("to $stream->{name} hi\n");
	($n) = hear($stream->{sock}, qr/\n/) =~ /^out (\d+) hi/;
	say($stream->{sock}, "answer $n ho\n");
	is(packet($to[1]), "ho\n", 'UDP reaches TCP');
};

subtest 'the end of sessions in datagrams' => sub {
	# Who gets the port of one who is gone would be taken for him.
	Steelyard::wait_for('those of before to be gone', sub { !grep { $_->{service} eq 'down' } @{ $sy->api('GET', '/v1/connections')->{connections} } });
	my ($before, $early, $idled) = (open_now(), map { reasons('down', $_) } qw(client-early idle));
	mark($sy);
	my @garbage = map { udp_client($udp{down}) } 1 .. 100;
	$_->send("ping\n") for @garbage;
	my $idle = udp_client($udp{down});
	is(ask($idle, "hello\n"), "t1: hello\n", 'one that asks');
	Steelyard::wait_for('the others to be gone', sub { open_now() <= $before + 1 });
	Steelyard::wait_for('their number', sub { reasons('down', 'client-early') >= $early + 100 });
	pass('by pings of nobody, nothing is kept');
	my $kept = udp_client($udp{down});
	is(ask($kept, "hello\n"), "t1: hello\n", 'one that wants to stay');
	my $name = (split / /, ask($kept, "name\n"))[1];
	$kept->send("keep 600000\n");
	Steelyard::wait_for('the idle one to be gone', sub { reasons('down', 'idle') > $idled });
	my @log = lines_since($sy, 'flow');
	my ($said) = grep { /end=idle/ } @log;
	like($said, qr/nothing was said for 2\.0 s, that is idle-timeout/, 'in words');
	Steelyard::wait_for('a moment', sub { my $c = $sy->api('GET', '/v1/connections')->{connections};
		my ($at) = grep { $_->{service} eq 'down' } @$c; $at && $at->{idle_ms} > 4000 });
	my $server = client();
	say($server->{sock}, "to $name still there\n");
	like(packet($kept), qr/^out \d+ still there/, 'the one that is needed stays');
	my $quiet = grep { /end=client-early/ } @log;
	cmp_ok($quiet, '<', 20, "and the log is not filled: $quiet lines");
};

subtest 'a worker that hangs, and one that dies' => sub {
	my ($victim) = sort keys %of;
	my $server = client_in($victim, 1);
	my ($there, $other) = (client_in($victim), client_in($victim, 1));
	my $pid = $sy->pid_of('worker', $victim);
	kill 'STOP', $pid;
	say($server->{sock}, "to $there->{name} hung\n" . "to $other->{name} not hung\n");
	my ($n) = hear($other->{sock}, qr/\n/) =~ /^out (\d+) not hung/;
	say($other->{sock}, "answer $n in time\n");
	is(hear($server->{sock}, qr/\n/), "in time\n", 'others do not wait for it');
	is(hear($server->{sock}, qr/\n/), "FAIL connect\n", 'who wants something of it waits for connect-timeout');
	kill 'CONT', $pid;
	like(hear($there->{sock}, qr/\n/), qr/^gone \d+/, 'which is over when that wakes up');
	is(name_of($there->{sock}), $there->{name}, 'it goes on');
	my @there = map { client_in($victim) } 1 .. 20;
	my @others = map { client_in($victim, 1) } 1 .. 20;
	say($server->{sock}, "to $_->{name} wait\n") for @there, @others;
	$_->{n} = (hear($_->{sock}, qr/out \d+ wait\n/) =~ /out (\d+) wait/)[0] for @there, @others;
	kill 'KILL', $pid;
	is(scalar(() = hear($server->{sock}, qr/(?:FAIL broken\n){20}/) =~ /FAIL broken/g), 20, 'what the dead one had is lost');
	say($_->{sock}, "answer $_->{n} alive\n") for @others;
	is(hear($server->{sock}, qr/(?:alive\n){20}/), "alive\n" x 20, 'and nothing else');
	# Its successor has connections with the same numbers.
	my @new = map { client_in($victim) } 1 .. 30;
	my %old = map { substr($_->{name}, 16) => 1 } @there, @{ $of{$victim} };
	ok(scalar(grep { $old{ substr $_->{name}, 16 } } @new), 'connections of its successor have numbers of the dead');
	say($server->{sock}, "to $_->{name} hello\n") for @there, @{ $of{$victim} };
	my $n_old = @there + @{ $of{$victim} };
	is(hear($server->{sock}, qr/(?:FAIL connect\n){$n_old}/), "FAIL connect\n" x $n_old, 'nobody is taken for one of them');
	is(scalar(grep { IO::Select->new($_->{sock})->can_read(0) } @new), 0, 'nobody hears what was not for him');
	say($server->{sock}, "to $new[0]{name} hello\n");
	like(hear($new[0]{sock}, qr/\n/), qr/^out \d+ hello/, 'its successor is reached');
	Steelyard::wait_for('no drift', sub { $sy->api('GET', '/v1/status')->{active} < 1000 });
};

subtest 'an upgrade in place' => sub {
	my $to = client();
	my $asks = client_in(worker_of($to->{name}), 1);
	say($asks->{sock}, "to $to->{name} before\n");
	my ($n) = hear($to->{sock}, qr/\n/) =~ /^out (\d+) before/;
	my ($waits, $kept) = map { udp_client($udp{calls}) } 1 .. 2;
	$waits->send("to $to->{name} in a datagram\n");
	my ($m) = hear($to->{sock}, qr/\n/) =~ /^out (\d+)/;
	is(ask($kept, "hello\n"), "u1 6 hello\n", 'a client in datagrams');
	my $name = (split / /, ask($kept, "name\n"))[1];
	$kept->send("keep 600000\n");
	is(ask($kept, "again\n"), "u1 6 again\n", 'which wants to stay');
	$sy->write_conf($conf);
	kill 'USR2', $sy->{pid};
	$sy->wait_log(qr/upgraded: version/);
	my $new = Steelyard::wait_for('a client of a new worker', sub {
		my $client = client();
		!$of{ worker_of($client->{name}) } && $client;
	});
	say($to->{sock}, "answer $n after\n" . "answer $m after\n");
	is(hear($asks->{sock}, qr/\n/), "after\n", 'what is under way is answered');
	is(packet($waits), "after\n", 'in a datagram, too, although another worker hears that client now');
	is(ask($kept, "more\n"), "u1 5 more\n", 'which answers it');
	say($asks->{sock}, "to $name there\n");
	like(packet($kept), qr/^out \d+ there/, 'and who wants to stay is reached');
	for ([$new, $to, 'from new to old'], [$asks, $new, 'from old to new']) {
		my ($from, $at, $words) = @$_;
		say($from->{sock}, "to $at->{name} hello\n");
		($n) = hear($at->{sock}, qr/\n/) =~ /^out (\d+) hello/;
		say($at->{sock}, "answer $n $words\n");
		is(hear($from->{sock}, qr/\n/), "$words\n", $words);
	}
};

close $_->{sock} for @clients;
$u1->kill; # it was begun when some of them were open
@clients = %of = ();
Steelyard::wait_for('all streams to have ended', sub {
	my $list = $sy->api('GET', '/v1/connections')->{connections};
	return !grep { $_->{transport} ne 'udp' } @$list;
});
is($sy->stop, 0, 'it ends well');
done_testing;
