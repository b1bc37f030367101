#!/usr/bin/env perl
# steelyardctl trace: both sides of connections and flows as a capture file that tshark reads, with the
# decisions as comments; what TLS carried only when it is asked for and allowed; bounded; one at a time.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Certificates;
use Way qw(dial say hear hear_all cut);
use File::Temp qw(tempdir);
use IO::Socket::IP;
use IO::Socket::SSL;

plan skip_all => 'tshark is not installed' if system('command -v tshark >/dev/null 2>&1');

my $dir = tempdir('steelyard-trace-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('site', ca => 'ca', names => ['web.example.net', '127.0.0.1'], key => 'ec');
sub pem { $certs->path("$_[0].$_[1]") }

my ($s1, $s2) = map { Steelyard->server($_) } qw(s1 s2);
my $udp = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Type => Socket::SOCK_DGRAM) or die $@;
my $echo = fork // die "fork: $!";
if (!$echo) {
	Steelyard::die_with_parent();
	while (1) { my $from = $udp->recv(my $said, 65536) // next; $udp->send("echo $said", 0, $from) }
}
END { kill 'KILL', $echo if $echo }
my $bulk = Steelyard->server('bulk', each => sub {
	my $sock = shift;
	sysread $sock, my $go, 100;
	my $piece = join '', map { chr(($_ * 7) & 255) } 0 .. 9999;
	Way::say($sock, $piece) or return for 1 .. 60;
});
my $conf = sub {
	my %is = (decrypted => 'off', @_);
	return <<"CONF";
console { listen 127.0.0.1:0; trace-decrypted $is{decrypted}; }
pool p { server s1 127.0.0.1:@{[ $s1->port ]}; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool one { server s1 127.0.0.1:@{[ $s1->port ]}; }
pool refuses { server gone 127.0.0.1:1; server s2 127.0.0.1:@{[ $s2->port ]}; }
pool u { server echo 127.0.0.1:@{[ $udp->sockport ]}; }
pool b { server bulk 127.0.0.1:@{[ $bulk->port ]}; }
virtual-service web { listen 127.0.0.1:0; pool p; monitor off; }
virtual-service other { listen 127.0.0.1:0; pool p; monitor off; }
virtual-service retry { listen 127.0.0.1:0; pool refuses; scheduler round-robin; monitor off; }
virtual-service udp { listen 127.0.0.1:0/udp; protocol udp; pool u; monitor off; }
virtual-service bulk { listen 127.0.0.1:0; pool b; monitor off; }
virtual-service denied { listen 127.0.0.1:0; pool p; monitor off; deny 127.0.0.0/8; }
virtual-service tls { listen 127.0.0.1:0 { tls { certificate @{[ pem(site => 'crt') ]}; key @{[ pem(site => 'key') ]}; } } pool one; monitor off; }
CONF
};
my $sy = Steelyard->start($conf->());
my %port = map { $_ => $sy->port($_) } qw(web other retry udp bulk denied tls);

# A trace of what the code does, as rows of the fields that tshark prints.
sub begin { return $sy->api('POST', '/v1/trace', { seconds => 60, @_ }) }
my $file = "$dir/trace.pcapng";
sub fetch {
	my $sock = IO::Socket::UNIX->new(Peer => $sy->{control}) or die $!;
	print $sock "POST /v1/trace/end HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	local $/;
	my ($head, $body) = split /\r\n\r\n/, <$sock>, 2;
	open my $out, '>:raw', $file or die $!;
	print $out $body;
	close $out;
	return ($head =~ m{^HTTP/1\.1 (\d+)}, $head =~ /^content-type:\s*(\S+)/im);
}
# What tshark sees in it, a hash for each packet; read once.
my @fields = qw(frame.number frame.interface_name frame.comment frame.len frame.cap_len ip.checksum.status tcp.srcport tcp.dstport
	tcp.flags tcp.len tcp.payload tcp.analysis.flags udp.payload);
my @packets;
sub look {
	@packets = map {
		chomp;
		my %packet;
		@packet{@fields} = map { $_ // '' } (split /\t/, $_, -1)[0 .. $#fields];
		$packet{side} = $packet{'frame.interface_name'};
		$packet{said} = pack 'H*', $packet{'tcp.payload'} || $packet{'udp.payload'};
		\%packet;
	} `tshark -n -r $file -T fields @{[ map { "-e $_" } @fields ]} 2>$dir/said`;
}
sub of { my $side = shift; return grep { $_->{side} eq $side } @packets }
sub said { return join '', map { $_->{said} } @_ }
sub complaint { open my $in, '<', "$dir/said" or return ''; local $/; return <$in> =~ s/Running as user.*\n//r }
sub comments { return grep { length } map { $_->{'frame.comment'} } @packets }
sub traced { my ($code, %of) = @_; my (undef, $status) = begin(%of); is($status, 200, 'it begins'); $code->(); quiet(); my @got = fetch(); look(); return @got }
sub quiet { Steelyard::wait_for('all to have ended', sub { !grep { $_->{transport} eq 'tcp' } @{ $sy->api('GET', '/v1/connections')->{connections} } }) }
sub visit { my ($name, $text, %opt) = @_; my $sock = dial($port{$name}, %opt); say($sock, "$text\n"); my $got = hear($sock, qr/\n/); my $from = $sock->sockport; close $sock; return ($got, $from) }

subtest 'a connection' => sub {
	my $from;
	my ($status, $type) = traced(sub { (undef, $from) = visit('web', 'hello there'); visit('other', 'not mine') }, service => 'web');
	is("$status $type", '200 application/x-pcapng', 'a capture file');
	is(complaint(), '', 'tshark has nothing to say');
	my ($client, $server) = map { [of($_)] } qw(clients servers);
	my $at = $server->[0]{'tcp.dstport'};
	ok($at == $s1->port || $at == $s2->port, 'the server is one of both');
	is($client->[0]{'tcp.srcport'}, $from, 'the client has its port');
	is($client->[0]{'tcp.dstport'}, $port{web}, 'and comes to the VIP');
	my @flags = map { hex $_->{'tcp.flags'} } @$client;
	is_deeply([@flags[0 .. 2]], [0x02, 0x12, 0x10], 'it opens with a handshake');
	is(scalar(grep { $_ & 1 } @flags), 2, 'and ends with two ends');
	for ([$client, $port{web}, 'client'], [$server, $at, 'server']) {
		my ($packets, $there, $who) = @$_;
		is(said(grep { $_->{'tcp.dstport'} == $there } @$packets), "hello there\n", "what was asked, on the side of the $who");
		like(said(grep { $_->{'tcp.srcport'} == $there } @$packets), qr/^s\d: hello there\n$/, 'and what was answered');
	}
	is_deeply([map { $_->{'frame.number'} } grep { length $_->{'tcp.analysis.flags'} } @packets], [], 'as TCP it makes sense');
	is_deeply([map { $_->{'frame.number'} } grep { $_->{'ip.checksum.status'} eq '0' } @packets], [], 'checksums are right');
	my @comments = comments();
	like($comments[0], qr/^connection \w+ of virtual-service web, worker \d$/, 'whose it is');
	ok(scalar(grep { /^server s\d of pool p: scheduler; client in clear, server in clear$/ } @comments), 'why which server') or diag explain \@comments;
	ok(scalar(grep { /^client-done: client closed first$/ } @comments), 'why it ended');
	unlike(said(@packets), qr/not mine/, 'nothing of another service');
	like(scalar `capinfos -kct $file 2>&1`, qr/service=web, 60 s, by uid 0: \d+ packets of 1 connections; nothing was left out/, 'the file says whose it is') or diag scalar `capinfos $file`;
};

subtest 'decisions' => sub {
	traced(sub { visit('retry', 'hello') for 1 .. 4; hear_all(dial($port{denied})) }, client => '127.0.0.0/8');
	my @comments = comments();
	ok(scalar(grep { /^server gone of pool refuses: scheduler$/ } @comments), 'a server that was tried') or diag explain \@comments;
	ok(scalar(grep { /^server gone: server refused the connection: Connection refused$/ } @comments), 'and refused');
	ok(scalar(grep { /^server s2 of pool refuses: retry; / } @comments), 'the next one');
	ok(scalar(grep { /^denied: client is in a deny network$/ } @comments), 'a client that was refused');
	my ($reset) = grep { hex($_->{'tcp.flags'}) & 4 } of('servers');
	is($reset->{'tcp.srcport'}, 1, 'a reset of the server');
	traced(sub { visit('web', 'x') }, client => '192.0.2.0/24');
	is(scalar @packets, 0, 'nobody of that network came');
};

subtest 'one that is open already' => sub {
	my $sock = dial($port{web});
	say($sock, "before\n");
	hear($sock, qr/\n/);
	traced(sub { say($sock, "after\n"); hear($sock, qr/\n/); cut($sock) }, service => 'web');
	like(said(@packets), qr/^after\n/, 'from then on');
	unlike(said(@packets), qr/before/, 'and nothing before');
	ok(scalar(grep { /it was open before the trace began/ } comments()), 'it says so');
	ok(scalar(grep { /^client-reset: / } comments()), 'and how it ended');
};

subtest 'datagrams' => sub {
	my $sock = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port{udp}, Type => Socket::SOCK_DGRAM) or die $@;
	my (undef, $status) = begin(service => 'udp');
	$sock->send('ping');
	$sock->recv(my $answer, 100);
	is($answer, 'echo ping', 'an answer');
	fetch();
	look();
	is_deeply([map { [$_->{side}, $_->{said}] } @packets],
		[['clients', 'ping'], ['servers', 'ping'], ['servers', 'echo ping'], ['clients', 'echo ping']], 'four packets');
	my @comments = comments();
	like($comments[0], qr/^flow \w+ of virtual-service udp, worker \d; server echo of pool u: scheduler$/, 'with the decision');
	is(complaint(), '', 'tshark has nothing to say');
};

subtest 'much' => sub {
	my $get = sub { my $sock = dial($port{bulk}); say($sock, "go\n"); my $all = hear_all($sock); close $sock; return length $all };
	is($get->(), 600000 + length '<end>', 'without a trace');
	traced(sub { is($get->(), 600000 + length '<end>', 'all of it arrives') }, service => 'bulk', bytes => 4 << 20);
	my $n = 0;
	$n += $_->{'tcp.len'} for grep { $_->{'tcp.srcport'} == $bulk->port } of('servers');
	is($n, 600000, 'and is in the trace');
	traced(sub { is($get->(), 600000 + length '<end>', 'it arrives when the trace is full, too') }, service => 'bulk', bytes => 100000);
	ok(-s $file <= 101000, 'which is no larger than allowed: ' . -s $file);
	like(scalar `capinfos -k $file 2>&1`, qr/there were more bytes than it could take/, 'it says so');
	is(complaint(), '', 'and it is whole');
};

subtest 'TLS' => sub {
	my $talk = sub {
		my $sock = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port{tls}, SSL_ca_file => pem(ca => 'crt'), SSL_verifycn_name => 'web.example.net') or die $SSL_ERROR;
		print $sock "the password is swordfish\n";
		my $line = <$sock>;
		close $sock;
	};
	traced($talk, service => 'tls');
	unlike(said(of('clients')), qr/swordfish/, 'what was said within TLS is not shown');
	my ($long) = grep { $_->{'frame.len'} == 40 + 26 && $_->{'tcp.dstport'} == $port{tls} } of('clients');
	is($long->{'frame.cap_len'}, 40, 'only how much it was');
	ok(scalar(grep { /client TLSv1\.3 \w+, server in clear/ } comments()), 'and which TLS') or diag explain [comments()];
	my ($answer, $status) = begin(service => 'tls', decrypted => JSON::PP::true);
	is($status, 403, 'decrypted is not allowed by itself');
	like($answer->{error}, qr/trace-decrypted on/, 'it says by what');
	my ($ok, $text) = $sy->reload($conf->(decrypted => 'on'));
	ok($ok, 'it is allowed now') or diag $text;
	$port{$_} = $sy->port($_) for keys %port;
	traced($talk, service => 'tls', decrypted => JSON::PP::true);
	is(scalar(grep { $_->{said} =~ /swordfish/ } of('clients')), 2, 'then it is shown, with the answer');
};

subtest 'one at a time, and who may' => sub {
	my (undef, $status) = begin(service => 'web');
	is($status, 200, 'one');
	my ($answer, $again) = begin(service => 'web');
	is($again, 409, 'and no other');
	like($answer->{error}, qr/there is one already: service=web/, 'in words');
	fetch();
	my ($code) = fetch();
	is($code, 404, 'fetched once');
	for ([{}, qr/say whose/], [{ service => 'wbe' }, qr/web/], [{ client => 'me' }, qr/an address or a network/],
			[{ service => 'web', seconds => 0 }, qr/seconds is a number from 1 to 600/], [{ service => 'web', bytes => 1 }, qr/bytes is a number/]) {
		my ($said, $is) = $sy->api('POST', '/v1/trace', $_->[0]);
		ok($is == 400 || $is == 404, "refused with $is");
		like($said->{error}, $_->[1], 'in words');
	}
	my $http = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $sy->console_port, Type => Socket::SOCK_STREAM) or die $@;
	print $http "POST /v1/trace HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 17\r\n\r\n{\"service\":\"web\"}";
	my $line = <$http>;
	like($line, qr{^HTTP/1\.1 40[13] }, 'nobody without a login');
	ok(scalar $sy->wait_log(qr{(audit POST /v1/trace \{.*"service":"web".*\}: done.*who="uid 0")}), 'it is written down who did it');
};

subtest 'steelyardctl trace' => sub {
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		open STDERR, '>', "$dir/ctl";
		exec Steelyard::steelyardctl(), '-s', $sy->{control}, 'trace', 'web', "$dir/ctl.pcapng", '--for', '60s' or POSIX::_exit(127);
	}
	Steelyard::wait_for('it to begin', sub { open my $in, '<', "$dir/ctl" or return 0; local $/; (<$in> // '') =~ /tracing web for 60 s/ });
	visit('web', 'by hand');
	quiet();
	kill 'INT', $pid;
	waitpid $pid, 0;
	is($?, 0, 'an interrupt ends it');
	$file = "$dir/ctl.pcapng";
	look();
	like(said(@packets), qr/by hand/, 'and leaves a file');
	my ($text, $code) = $sy->ctl('trace', 'nobody', "$dir/x");
	is($code, 1, 'of a service that is not there');
	like($text, qr/nobody/, 'in words');
};
is($sy->stop, 0, 'it ends well');

# The worker stands still until a server and another connection's client have both spoken.
sub touch { open my $out, '>', "$dir/$_[0]" or die "$_[0]: $!" }
my $late = Steelyard->server('late', each => sub {
	my $sock = shift;
	while (sysread $sock, my $bytes, 100) {
		touch('asked');
		select undef, undef, undef, 0.3;
		Way::say($sock, "answer\n");
		touch('answered');
	}
});
$sy = Steelyard->start(<<CONF);
workers 1;
pool one { server s1 127.0.0.1:@{[ $s1->port ]}; }
pool late { server late 127.0.0.1:@{[ $late->port ]}; }
virtual-service web { listen 127.0.0.1:0; pool one; monitor off; }
virtual-service late { listen 127.0.0.1:0; pool late; monitor off; }
CONF
my @two = map { dial($sy->port($_)) } qw(web late);
say($two[0], "one\n");
hear($two[0], qr/\n/);
my $worker = $sy->pid_of('worker');
traced(sub {
	say($two[1], "question\n");
	Steelyard::wait_for('the question to be there', sub { -e "$dir/asked" });
	kill 'STOP', $worker;
	Steelyard::wait_for('the answer', sub { -e "$dir/answered" });
	say($two[0], "two\n");
	kill 'CONT', $worker;
	is(hear($two[1], qr/\n/), "answer\n", 'the one is heard');
	is(hear($two[0], qr/\n/), "s1: two\n", 'and the other');
	close $_ for @two;
}, client => '127.0.0.0/8');
is_deeply([map { "$_->{side}: $_->{said}" } grep { $_->{said} =~ /^(?:two|answer)/ } @packets],
	["clients: two\n", "servers: answer\n", "servers: two\n", "clients: answer\n"],
	'all that is ready in one turn is read before anything is written, to servers first');
is($sy->stop, 0, 'it ends well');
done_testing;
