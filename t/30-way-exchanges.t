#!/usr/bin/env perl
# Exchanges that share connections to servers, servers that leave at the worst moment, failures in the
# protocol's own words, and what a protocol module is told.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Socket::SSL;
use Steelyard;
use Way qw(modules_and dial say hear hear_all ending half_close line_of mark);

my $modules = modules_and('protocol/replies', 'persistence/marks');
my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('web', ca => 'ca', names => ['web.example.net']);
$certs->issue('client', ca => 'ca', names => ['client.example.net']);
my $dir = $certs->dir;

# One connection of a server: the first word of a line says what it does.
sub serve {
	my ($sock, $port) = @_;
	my $in = '';
	my $readable = sub { $sock->can('pending') && $sock->pending or IO::Select->new($sock)->can_read(30) };
	while (1) {
		while ($in !~ /\n/) { sysread($sock, $in, 65536, length $in) or return }
		$in =~ s/^(\S*) ?([^\n]*)\n// or return;
		my ($word, $rest) = ($1, $2);
		next if $word eq 'PROXY';
		if ($word eq 'body') { while (length $in < $rest) { sysread($sock, $in, 65536, length $in) or return } substr $in, 0, $rest, '' }
		if ($word eq 'die') { return }
		if ($word eq 'half') { syswrite $sock, "+ part\n"; return }
		if ($word eq 'mute') { 1 while sysread $sock, $in, 65536; return }
		if ($word eq 'wait') { select undef, undef, undef, 0.5 }
		if ($word eq "big") { my $lines = ("x" x 96 . "\n") x 100; Way::say($sock, $lines) or return for 1 .. $rest / 100 }
		if ($word eq 'learn') { syswrite $sock, "learn $rest\n" }
		syswrite $sock, ($word eq 'bye' ? "bye" : "ok") . " $port\n";
		return if $word eq 'leave';
		# The next request finds it dead: with a reset, or with an end.
		if ($word eq 'trap') { $readable->(); return }
		if ($word eq 'hole') { $readable->(); sysread $sock, my $lost, 65536; shutdown $sock, 1; select undef, undef, undef, 0.1; return }
		if ($word eq 'chat') { select undef, undef, undef, 0.2; syswrite $sock, "by the way\n"; 1 while sysread $sock, $in, 65536; return }
	}
}
my $plain = sub { my $sock = shift; serve($sock, $sock->peerport) };
my ($s1, $s2) = map { Steelyard->server($_, each => $plain) } qw(s1 s2);
my $tls = Steelyard->server('tls', each => sub {
	my $sock = shift;
	my $conn = IO::Socket::SSL->start_SSL($sock, SSL_server => 1, SSL_cert_file => "$dir/web.crt", SSL_key_file => "$dir/web.key");
	serve($conn, $conn->peerport) if $conn;
});
my $nobody = Steelyard::free_port();
my $conf = <<CONF;
workers 1;
pool one { server only 127.0.0.1:@{[ $s1->port ]}; }
pool two { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool tls { server tls 127.0.0.1:@{[ $tls->port ]}; tls { verify off; } }
pool nobody { server nobody 127.0.0.1:$nobody; }
virtual-service one { listen 127.0.0.1:0; protocol replies; pool one; monitor off; idle-timeout 1500ms; greet-timeout 1s; }
virtual-service few { listen 127.0.0.1:0; protocol replies; pool one; monitor off; server-idle-connections 2; }
virtual-service brief { listen 127.0.0.1:0; protocol replies; pool one; monitor off; server-idle-timeout 1s; }
virtual-service own { listen 127.0.0.1:0; protocol replies; pool one; monitor off; server-idle-connections 0; }
virtual-service proxy { listen 127.0.0.1:0; protocol replies; pool one; monitor off; send-proxy v1; }
virtual-service two { listen 127.0.0.1:0; protocol replies; pool two; monitor off; scheduler round-robin; persistence marks; }
virtual-service tls { listen 127.0.0.1:0 { tls { certificate web { chain $dir/web.crt; key $dir/web.key; } ca $dir/ca.crt; client-certificate optional; alpn replies; } }
	protocol replies; pool tls; monitor off; }
virtual-service nobody { listen 127.0.0.1:0; protocol replies; pool nobody; monitor off; }
virtual-service down { listen 127.0.0.1:0; protocol replies; pool nobody; monitor tcp { interval 200ms; fall 1; } }
virtual-service full { listen 127.0.0.1:0; protocol replies; pool one; monitor off; max-connections 1; }
CONF
my $sy = Steelyard->start($conf, modules => $modules);
my %port = map { $_ => $sy->port($_) } qw(one few brief own proxy two tls nobody down full);

sub ask {
	my ($sock, $line) = @_;
	return 'not sent' unless say($sock, "$line\n");
	return hear($sock, qr/\n/) =~ s/\n\z//r;
}
sub over {
	my ($sock, $end) = @_;
	is(line_of($sy, $sock)->{end}, $end, "the log says why: $end");
}
sub idle_servers { my ($n) = JSON::PP->new->encode($sy->api('GET', '/v1/memory')) =~ /"idle_servers":"?(\d+)/; return $n }

subtest 'shared' => sub {
	my ($a, $b) = (dial($port{brief}), dial($port{brief}));
	my $first = ask($a, 'who');
	like($first, qr/^ok \d+$/, 'a request is answered');
	is(ask($b, 'who'), $first, 'another client has the same connection to the server');
	is(ask($a, 'who'), $first, 'and the first one again');
	is(idle_servers(), 1, 'it is put aside');
	Steelyard::wait_for('it to grow old', sub { idle_servers() == 0 });
	my $second = ask($b, 'who');
	isnt($second, $first, 'after server-idle-timeout there is another one');
	isnt(ask($a, 'bye'), 'not sent', 'one that is spent');
	isnt(ask($a, 'who'), $second, 'is not used again');
	my $pinned = ask($a, 'pin it');
	isnt(ask($b, 'who'), $pinned, 'one that is pinned belongs to its client');
	is(ask($a, 'pin it'), $pinned, 'who keeps it');
	my $chat = ask(dial($port{brief}), 'chat');
	Steelyard::wait_for('it to be dropped', sub { select undef, undef, undef, 0.4; ask($b, 'who') ne $chat });
	pass('one that speaks unasked is not used again');
	my $alone = dial($port{brief});
	ask($alone, 'pin it');
	like(ask($alone, 'chat'), qr/^ok \d+$/, 'one that is pinned answers, and speaks unasked');
	is(hear_all($alone), '<end>', 'nobody hears it, and the session ends');
	over($alone, 'server-done');
	my $left = ask($a, 'leave');
	like(ask($b, 'who'), qr/^ok \d+$/, 'one that has left does no harm');
};

subtest 'bounds' => sub {
	my @socks = map { dial($port{few}) } 1 .. 5;
	my $before = idle_servers();
	say($_, "wait\n") for @socks;
	like(hear($_, qr/\n/), qr/^ok \d+\n$/, 'at the same time') for @socks;
	Steelyard::wait_for('two to be left', sub { idle_servers() <= $before + 2 });
	pass('no more than server-idle-connections are left');
	for my $name (qw(own proxy)) {
		my ($a, $b) = (dial($port{$name}), dial($port{$name}));
		my $own = ask($a, 'who');
		isnt(ask($b, 'who'), $own, "$name: not shared");
		is(ask($a, 'who'), $own, "$name: the client keeps it");
	}
};

subtest 'the worst moment' => sub {
	my ($a, $b) = (dial($port{few}), dial($port{few}));
	for my $word (qw(trap hole)) {
		my @wrong;
		for (1 .. 10) {
			my $dying = ask($a, $word);
			my $next = ask($b, 'who');
			push @wrong, "$dying, $next" unless $dying =~ /^ok \d+$/ && $next =~ /^ok \d+$/ && $next ne $dying;
		}
		is_deeply(\@wrong, [], "$word: a request that meets a dying connection is answered by another");
		my $dying = ask($a, $word);
		say($b, "body 10000\n" . 'x' x 10000);
		like(hear($b, qr/\n/), qr/^ok \d+\n$/, "$word: one of 10000 bytes, too");
		ask($a, $word);
		say($b, "body 40000\n" . 'x' x 40000);
		my $got = hear_all($b);
		# It goes through when the server has left before the last byte that is kept.
		like($got, qr/^(?:ok \d+\n.*|FAIL broken\n<end>)$/s, "$word: one that is too long to be kept fails in words, if it fails");
		$b = dial($port{few});
	}
	my $own = dial($port{own});
	ask($own, 'trap');
	like(ask($own, 'who'), qr/^ok \d+$/, 'the same with a connection of its own');
};

subtest 'failures' => sub {
	mark($sy);
	my %of = (
		'die' => ['one', "die\n", 'FAIL broken', 'server-done'],
		'mute' => ['one', "mute\n", 'FAIL late', 'idle'],
		'half a line' => ['one', 'wh', 'FAIL client-late', 'protocol-late'],
		'nothing' => ['one', '', 'FAIL client-late', 'greet-timeout'],
		'half a body' => ['one', "body 100\nxxx", 'FAIL client-late', 'protocol-late'],
		'too long' => ['one', 'x' x 300, 'FAIL window', 'protocol-window'],
		'nobody there' => ['nobody', "who\n", 'FAIL connect', 'connect-refused'],
	);
	my %sock = map { my $sock = dial($port{ $of{$_}[0] }); say($sock, $of{$_}[1]); ($_ => $sock) } keys %of;
	for my $name (sort keys %of) {
		is(hear_all($sock{$name}), "$of{$name}[2]\n<end>", "$name: in words, and an orderly end");
		half_close($sock{$name});
		over($sock{$name}, $of{$name}[3]);
	}
	my $sock = dial($port{one});
	say($sock, "half\n");
	like(hear_all($sock), qr/^\+ part\n<\w+>$/, 'an answer that has begun is not continued');
	$sy->wait_down('down', 'nobody');
	$sock = dial($port{down});
	is(ask($sock, 'who'), 'FAIL no-server', 'no server is up');
	my $one = dial($port{full});
	like(ask($one, 'who'), qr/^ok/, 'within the limit');
	$sock = dial($port{full});
	is(hear_all($sock), "FAIL refused\n<end>", 'above it');
	half_close($sock);
	over($sock, 'service-full');
};

# The server's line in hand has 2 s to come; while the client takes nothing, nobody reads it.
subtest 'a client that pauses' => sub {
	for my $service (qw(few tls)) {
		my %tls = (PeerAddr => '127.0.0.1', PeerPort => $port{tls}, SSL_verify_mode => 0, SSL_hostname => 'web.example.net', SSL_alpn_protocols => ['replies']);
		my $sock = $service eq 'tls' ? IO::Socket::SSL->new(%tls) : dial($port{$service}, receive => 65536);
		my $lines = 150_000;
		print $sock "big $lines\n";
		# 15 MB are more than what stands between can hold.
		my $kept = sub { my ($n) = JSON::PP->new->encode($sy->api('GET', '/v1/memory')) =~ /"chunk_bytes":"?(\d+)/; return $n };
		Steelyard::wait_for('the client to be unread', sub { $kept->() });
		select undef, undef, undef, 4;
		my ($got, $n) = ('', 0);
		while ($got !~ /ok \d+\n/) {
			IO::Select->new($sock)->can_read($Steelyard::LIMIT) unless $sock->can('pending') && $sock->pending;
			my $read = sysread $sock, my $bytes, 65536 or last;
			$n += $read;
			$got = substr($got, -100) . $bytes;
		}
		is($n, 97 * $lines + length(($got =~ /(ok \d+\n)\z/)[0] // 'none'), "$service: longer than the deadline, in the middle of an answer, and gets all of it");
	}
};

subtest 'what the module is told' => sub {
	my $sock = dial($port{few});
	is(ask($sock, 'tell x'), 'service=few server=none port=0 server_secure=0 secure=0 sni= alpn= subject= draining=0 stream=0', 'before a server is chosen');
	ask($sock, 'pin it');
	is(ask($sock, 'tell x'), 'service=few server=only port=' . $s1->port . ' server_secure=0 secure=0 sni= alpn= subject= draining=0 stream=0', 'with a server');
	$sy->ctl('drain', 'only');
	Steelyard::wait_for('the drain to be told', sub { ask($sock, 'tell x') =~ /draining=1/ });
	pass('that the server drains');
	$sy->ctl('enable', 'only');
	Steelyard::wait_for('the end of it', sub { ask($sock, 'tell x') =~ /draining=0/ });
	my %tls = (PeerAddr => '127.0.0.1', PeerPort => $port{tls}, SSL_verify_mode => 0, SSL_hostname => 'WEB.example.net', SSL_alpn_protocols => ['replies']);
	my $plain = IO::Socket::SSL->new(%tls) or die $SSL_ERROR;
	my $known = IO::Socket::SSL->new(%tls, SSL_cert_file => "$dir/client.crt", SSL_key_file => "$dir/client.key") or die $SSL_ERROR;
	my $tell = sub { my ($conn, $line) = @_; print $conn "$line\n"; return scalar <$conn> };
	like($tell->($plain, 'tell x'), qr/secure=1 sni=web\.example\.net alpn=replies subject= /, 'what TLS knows');
	like($tell->($known, 'tell x'), qr/secure=1 sni=web\.example\.net alpn=replies subject=\S*CN=client\S* /, 'and the subject of a certificate');
	my $first = $tell->($plain, 'who');
	like($first, qr/^ok \d+$/, 'over TLS to the server');
	is($tell->($known, 'who'), $first, 'the same connection for both, whatever tickets came');
	is($tell->($known, 'who'), $first, 'again');
	$tell->($known, 'pin x');
	like($tell->($known, 'tell x'), qr/server=tls port=\d+ server_secure=1/, 'the server is spoken to over TLS');
};

subtest 'marks and keys' => sub {
	my $sock = dial($port{two});
	my $marked = sub { my ($conn, $line) = @_; say($conn, "$line\n"); return hear($conn, qr/^ok \d+\n/m) };
	like($marked->($sock, 'who'), qr/^mark s[12] named=0 head=who\nok \d+\n$/, 'the answer carries what persistence says');
	my %by;
	$by{ ($marked->($sock, 'who') =~ /^mark (\w+)/)[0] }++ for 1 .. 4;
	is_deeply(\%by, { s1 => 2, s2 => 2 }, 'in turn, without a key');
	my ($server) = $marked->($sock, 'learn token-1') =~ /^mark (\w+)/;
	my ($second) = $marked->($sock, 'learn token-2') =~ /^mark (\w+)/;
	isnt($second, $server, 'two keys are learned from two servers');
	for (1 .. 3) {
		my $other = dial($port{two});
		like($marked->($other, 'who token-1'), qr/^mark $server /, 'the key finds its server');
		$other = dial($port{two});
		like($marked->($other, 'who token-2'), qr/^mark $second /, 'and the other its');
	}
};

subtest 'ends' => sub {
	my $sock = dial($port{few});
	ask($sock, 'who');
	cmp_ok(idle_servers(), '>', 0, 'some are aside');
	my ($ok, $text) = $sy->reload("$conf# again\nlog-connections on;\n");
	ok($ok, 'a reload') or diag $text;
	like(ask($sock, 'who'), qr/^ok/, 'an old client is served');
	close $sock;
	Steelyard::wait_for('the old generation to be gone', sub { my $most = 0; for (@{ $sy->processes }) { $most = $_->{generations} if $_->{generations} > $most } $most == 1 });
	is(idle_servers(), 0, 'what it had put aside went with it');
	like(ask(dial($port{few}), 'who'), qr/^ok/, 'a new one');
	is(idle_servers(), 1, 'puts aside again');
	$sy->ctl('disable', 'only');
	Steelyard::wait_for('a disabled server to lose them', sub { idle_servers() == 0 });
	pass('a disabled server loses them');
};
Steelyard::wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 });
is($sy->stop, 0, 'it ends well');
done_testing;
