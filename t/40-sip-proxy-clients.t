#!/usr/bin/env perl
# protocol sip in mode proxy: servers reach clients, whatever worker has them, by the token in Path and
# Record-Route. Scripted peers, and Kamailio as registrar and proxy.
use strict;
use warnings;
use IO::Socket::INET;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Phone;
use Sip qw(response field kamailio registrar uas heard wait_heard);
use Steelyard;
use Way qw(dial say hear);

my ($kamailio, $kam) = kamailio(proxy => 1);
# TCP and UDP at the same port, so that a server reaches by TCP what a client calls by UDP.
my $both = Steelyard::free_port('both');
my $reg = registrar('r1', answer => sub {
	my $request = shift;
	return response($request, 200, 'OK', $request =~ /^(Path:.*\r\n)/m ? "X-$1" : '');
});
# A server that asks over the connection that it is asked by: the phone of Call-ID "NAME-what" by the Path of its
# registration. It says which of its connections that is.
my $asked = 0;
sub asks {
	my ($method, $name, $id) = @_;
	my $path = field((heard('asks', 'REGISTER', "reg-$name"))[0], 'Path');
	return "$method sip:$name\@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK-asks-$$-" . ++$asked . "\r\nMax-Forwards: 70\r\n"
		. "From: <sip:server\@example.com>;tag=s\r\nTo: <sip:$name\@example.com>\r\nCall-ID: $id\r\nCSeq: 1 $method\r\nRoute: $path\r\n"
		. "Content-Length: 0\r\n\r\n";
}
my $asks = uas('asks', sub {
	my ($message, $sock) = @_;
	return '' if $message =~ /^(?:ACK|SIP)/;
	my $id = field($message, 'Call-ID');
	my ($name) = field($message, 'From') =~ /sip:(\w+)\@/;
	my $record = join '', $message =~ /^(Record-Route:.*\r\n)/mig;
	my $more = "X-Connection: " . $sock->peerport . "\r\n${record}Contact: <sip:server\@192.0.2.9>\r\n";
	my $ok = response($message, 200, 'OK', $more);
	return $ok . asks('NOTIFY', $name, "notify-$name") if $message =~ /^REGISTER/;
	return $ok . asks('INVITE', $name, "called-$name") if $id =~ /call-me/;
	if ($message =~ /^INVITE/) {
		my $ringing = response($message, 180, 'Ringing', $record) . asks('OPTIONS', $name, "asked-$id");
		return $id =~ /taken/ ? $ringing . $ok : $ringing;
	}
	return $ok . response((heard('asks', 'INVITE', $id))[0], 487, 'Request Terminated') if $message =~ /^CANCEL/;
	# When nobody asks it any more, it does.
	if ($id =~ /later/ && !fork) {
		select undef, undef, undef, 0.3;
		syswrite $sock, asks('MESSAGE', $name, "late-$name");
		POSIX::_exit(0);
	}
	return $ok;
});
my $sy = Steelyard->start(<<"CONF");
workers 4;
pool asks { server a 127.0.0.1:@{[ $asks->port ]}; }
virtual-service asks { listen 127.0.0.1:0; protocol sip { mode proxy; ring-timeout 60s; } pool asks; monitor off; }
pool kam { transport tcp; server k 127.0.0.1:$kam->{tcp}; }
pool reg { server r1 127.0.0.1:@{[ $reg->port ]}; }
virtual-service kam { listen 127.0.0.1:$both 127.0.0.1:$both/udp; protocol sip { mode proxy; } pool kam; monitor off; }
virtual-service reg { listen 127.0.0.1:0; protocol sip { mode proxy; } pool reg; monitor off; }
CONF
my $port = $sy->port('reg');

sub figures {
	my ($service) = @_;
	my ($found) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return $found->{figures};
}

sub phone_tcp { my ($name, $to) = @_; return Phone->new($name, dial($to // $both), 'TCP') }
sub phone_udp {
	my $name = shift;
	return Phone->new($name, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $both, Proto => 'udp'), 'UDP');
}
sub worker_of {
	my $phone = shift;
	my ($found) = grep { $_->{client} eq $phone->{host} && !$_->{parent} } @{ $sy->api('GET', '/v1/connections')->{connections} };
	return $found->{worker};
}
# At different workers, if that has a meaning before they have said anything.
sub phones {
	my ($make, @names) = @_;
	my (@got, %at);
	while (@names) {
		my $phone = $make->($names[0]);
		if ($make == \&phone_tcp) {
			my $worker = Steelyard::wait_for('a connection', sub { my $at = worker_of($phone); defined $at ? "at $at" : '' });
			next if $at{$worker}++;
		}
		like($phone->register, qr{^SIP/2\.0 200 }, "$names[0] is registered");
		shift @names;
		push @got, $phone;
	}
	return @got;
}

sub routes { return [ $_[0] =~ /^Record-Route: (.*)\r$/mg ] }
sub contact { return field($_[0], 'Contact') =~ /<(.*)>/ ? $1 : '' }

# One calls the other, and `ends` (0: caller, 1: callee) hangs up.
sub call {
	my ($from, $to, $id, $ends) = @_;
	$from->say($from->request('INVITE', to => "sip:$to->{name}\@example.com", id => $id));
	my $invite = $to->wait(qr/^INVITE /);
	like($invite, qr/^INVITE sip:$to->{name}\@\Q$to->{host}\E/, "$id: the INVITE comes over the connection of $to->{name}") or return;
	$to->answer($invite, 180, 'Ringing');
	like($from->wait(qr{^SIP/2\.0 1[^0]}), qr{^SIP/2\.0 180 }, "$id: it rings");
	$to->answer($invite, 200, 'OK');
	my $ok = $from->wait(qr{^SIP/2\.0 [2-6].*CSeq: 1 INVITE}s);
	like($ok, qr{^SIP/2\.0 200 }, "$id: it is answered") or return;
	is(() = $ok =~ /^Via:/mg, 1, "$id: with the caller's Via alone");
	my @routes = reverse @{ routes($ok) };
	$from->say($from->request('ACK', to => "sip:$to->{name}\@example.com", id => $id, tag => "t$to->{name}", uri => contact($ok), routes => \@routes));
	like($to->wait(qr/^ACK /), qr/^ACK sip:$to->{name}\@/, "$id: the ACK arrives");
	my ($one, $other) = $ends ? ($to, $from) : ($from, $to);
	$one->say($one->request('BYE', to => "sip:$other->{name}\@example.com", id => $id, cseq => $ends ? 11 : 2, tag => "t$other->{name}",
		uri => contact($ends ? $invite : $ok), routes => $ends ? routes($invite) : \@routes));
	my $bye = $other->wait(qr/^BYE /);
	like($bye, qr/^BYE sip:$other->{name}\@/, "$id: $one->{name} hangs up");
	$other->answer($bye, 200, 'OK');
	like($one->wait(qr{^SIP/2\.0 .*CSeq: \d+ BYE}s), qr{^SIP/2\.0 200 }, "$id: and that is answered");
}

subtest 'Kamailio, two phones over TCP at different workers' => sub {
	my ($alice, $bob) = phones(\&phone_tcp, qw(alice bob));
	isnt(worker_of($alice), worker_of($bob), 'they are at different workers');
	call($alice, $bob, 'call-1', 0);
	call($alice, $bob, 'call-2', 1);
	call($bob, $alice, 'call-3', 1);
	$alice->say($alice->request('INVITE', to => 'sip:bob@example.com', id => 'cancelled', branch => 'z9hG4bKcancelled'));
	my $invite = $bob->wait(qr/^INVITE /);
	$bob->answer($invite, 180, 'Ringing');
	$alice->wait(qr{^SIP/2\.0 180});
	$alice->say($alice->request('CANCEL', to => 'sip:bob@example.com', id => 'cancelled', branch => 'z9hG4bKcancelled'));
	like($alice->wait(qr/CSeq: 1 CANCEL/), qr{^SIP/2\.0 200 }, 'a CANCEL is answered');
	my $cancel = $bob->wait(qr/^CANCEL /);
	is(($cancel =~ /branch=([^;\r]+)/)[0], ($invite =~ /branch=([^;\r]+)/)[0], 'and arrives with the branch of its INVITE');
	$bob->answer($cancel, 200, 'OK');
	$bob->answer($invite, 487, 'Request Terminated');
	like($alice->wait(qr{^SIP/2\.0 [2-6].*CSeq: 1 INVITE}s), qr{^SIP/2\.0 487 }, 'the INVITE gets its 487');
	like($bob->wait(qr/^ACK /), qr/^ACK /, 'and bob gets an ACK');
	my $f = figures('kam');
	is_deeply([ @$f{qw(transactions dialogs)} ], [ 0, 0 ], 'nothing is left open');
	cmp_ok($f->{server_requests_invite}, '>=', 4, 'requests for clients are counted');
	cmp_ok($f->{registrations}, '>=', 2, 'so are registrations');
};

subtest 'UDP' => sub {
	my ($carol, $dave) = phones(\&phone_udp, qw(carol dave));
	call($carol, $dave, 'udp-1', 0);
	call($dave, $carol, 'udp-2', 1);
	my ($erin) = phones(\&phone_tcp, 'erin');
	call($erin, $carol, 'mixed-1', 1);
	call($carol, $erin, 'mixed-2', 1);
	my $again = $dave->request('REGISTER', id => 'again', more => "Expires: 600\r\n", branch => 'z9hG4bKagain');
	my $before = figures('kam')->{requests_register};
	$dave->say($again);
	my $first = $dave->wait(qr{^SIP/2\.0 200 .*Call-ID: again}s);
	$dave->say($again);
	is($dave->wait(qr{^SIP/2\.0 200 .*Call-ID: again}s), $first, 'a request that comes again gets its answer again');
	is(figures('kam')->{requests_register}, $before + 1, 'and the server does not hear of it');
};

subtest 'a connection that is gone' => sub {
	my $frank = phone_tcp('frank', $port);
	$frank->say($frank->request('REGISTER', more => "Supported: path\r\n"));
	my $told = $frank->wait(qr/^SIP/);
	my $path = field($told, 'X-Path');
	like($path, qr/^<sip:[\w-]+\@127\.0\.0\.1:$port;transport=tcp;lr>$/, 'frank is registered with a Path');
	my $server = phone_tcp('server', $port);
	my $options = sub { $server->request('OPTIONS', to => 'sip:frank@example.com', id => "o-$_[0]", routes => [ $path ]) };
	$server->say($options->(1));
	my $got = $frank->wait(qr/^OPTIONS /);
	like($got, qr/^OPTIONS /, 'a server finds it by its Path');
	unlike($got, qr/^Route:/m, 'which is taken away');
	$frank->answer($got, 200, 'OK');
	like($server->wait(qr/^SIP/), qr{^SIP/2\.0 200 OK.*Call-ID: o-1}s, 'the answer comes back');
	my $last = substr $path, index($path, '@') - 1, 1;
	my $forged = $path =~ s/$last\@/($last eq 'A' ? 'B' : 'A') . '@'/er;
	$server->say($server->request('OPTIONS', to => 'sip:frank@example.com', id => 'forged', routes => [ $forged ]));
	like($server->wait(qr/^SIP/), qr{^SIP/2\.0 403 }, 'a Path that was made up: 403');
	close $frank->{sock};
	Steelyard::wait_for('the connection to be gone', sub {
		!grep { $_->{client} eq $frank->{host} } @{ $sy->api('GET', '/v1/connections')->{connections} };
	});
	$server->say($options->(2));
	like($server->wait(qr/^SIP/), qr{^SIP/2\.0 430 Flow Failed\r\n}, 'when the connection is gone: 430');
};

subtest 'a worker dies' => sub {
	my ($grace, $henry) = phones(\&phone_tcp, qw(grace henry));
	my $victim = worker_of($grace);
	my $pid = $sy->pid_of('worker', $victim);
	kill 'KILL', $pid;
	Steelyard::wait_for('the successor', sub { my $new = $sy->pid_of('worker', $victim); $new && $new != $pid });
	$henry->say($henry->request('INVITE', to => 'sip:grace@example.com', id => 'dead'));
	like($henry->wait(qr{^SIP/2\.0 [2-6].*Call-ID: dead}s), qr{^SIP/2\.0 [45]}, 'who was there cannot be called');
	my $again = phone_tcp('grace');
	like($again->register(2), qr{^SIP/2\.0 200 }, 'connects and registers again');
	call($henry, $again, 'back-1', 0);
	call($again, $henry, 'back-2', 0);
	call($henry, $again, 'back-3', 1);
};

# Its address stays, but is another worker's.
subtest 'an upgrade in place' => sub {
	my ($ivan) = phones(\&phone_udp, 'ivan');
	my ($judy) = phones(\&phone_tcp, 'judy');
	$ivan->say($ivan->request('INVITE', to => 'sip:judy@example.com', id => 'over'));
	my $invite = $judy->wait(qr/^INVITE /);
	$judy->answer($invite, 180, 'Ringing');
	like($ivan->wait(qr{^SIP/2\.0 180.*Call-ID: over}s), qr{180}, 'it rings');
	$judy->say($judy->request('INVITE', to => 'sip:ivan@example.com', id => 'busy'));
	my $busy = $ivan->wait(qr/^INVITE /);
	$ivan->answer($busy, 180, 'Ringing');
	like($judy->wait(qr{^SIP/2\.0 180.*Call-ID: busy}s), qr{180}, 'the other way, too');
	kill 'USR2', $sy->{pid};
	$sy->wait_log(qr/upgraded: version/);
	Steelyard::wait_for('new workers', sub { 4 == (() = $sy->log_text =~ /takes over from worker/g) });
	$ivan->answer($busy, 486, 'Busy Here');
	like($judy->wait(qr{^SIP/2\.0 [2-6].*Call-ID: busy}s), qr{^SIP/2\.0 486 }, 'a refusal comes by the new worker');
	my $ack = $ivan->wait(qr/^ACK .*Call-ID: busy/s);
	is(($ack =~ /branch=([^;\r]+)/)[0], ($busy =~ /branch=([^;\r]+)/)[0], 'and gets an ACK with the branch of its INVITE');
	$judy->answer($invite, 200, 'OK');
	my $ok = $ivan->wait(qr{^SIP/2\.0 [2-6].*Call-ID: over}s);
	like($ok, qr{^SIP/2\.0 200 }, 'what rang before is answered') or return;
	my @routes = reverse @{ routes($ok) };
	$ivan->say($ivan->request('ACK', to => 'sip:judy@example.com', id => 'over', tag => 'tjudy', uri => contact($ok), routes => \@routes));
	like($judy->wait(qr/^ACK /), qr/^ACK /, 'the ACK arrives');
	$judy->say($judy->request('BYE', to => 'sip:ivan@example.com', id => 'over', cseq => 11, tag => 'tivan', uri => contact($invite), routes => routes($invite)));
	my $bye = $ivan->wait(qr/^BYE /);
	like($bye, qr/^BYE sip:ivan\@/, 'the other one hangs up');
	$ivan->answer($bye, 200, 'OK');
	like($judy->wait(qr{^SIP/2\.0 .*CSeq: 11 BYE}s), qr{^SIP/2\.0 200 }, 'and that is answered');
	call($judy, $ivan, 'over-2', 1);
	call($ivan, $judy, 'over-3', 1);
};

subtest 'a server asks over the connection that it is asked by' => sub {
	my $gina = phone_tcp('gina', $sy->port('asks'));
	my $told = $gina->register;
	like($told, qr{^SIP/2\.0 200 }, 'gina is registered');
	my $connection = field($told, 'X-Connection');
	my $notify = $gina->wait(qr/^NOTIFY /);
	like($notify, qr{^NOTIFY sip:gina\@192\.0\.2\.1 .*^Call-ID: notify-gina\r$}ms, 'in one piece with the answer there is a request for her');
	my $answered = sub { my $id = shift; Steelyard::wait_for("the answer to $id", sub { (grep { /^SIP/ } heard('asks', undef, $id))[0] }) };
	$gina->answer($notify, 200, 'OK');
	my $got = $answered->('notify-gina');
	like($got, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/TCP 192\.0\.2\.9;}, 'its answer comes back');
	is(() = $got =~ /^Via:/mg, 1, 'with the Via of the server alone');
	my $say = sub { my ($method, $id) = @_; $gina->say($gina->request($method, id => $id)); return $gina->wait(qr{^SIP/2\.0 [2-6].*^Call-ID: $id\r$}ms) };
	is(field($say->('OPTIONS', 'free'), 'X-Connection'), $connection, 'then the connection serves her requests again');
	like($say->('OPTIONS', 'later-1'), qr{^SIP/2\.0 200 }, 'when nothing is under way');
	my $message = $gina->wait(qr/^MESSAGE /);
	like($message, qr/^Call-ID: late-gina\r$/m, 'the server asks over it, too');
	$gina->answer($message, 200, 'OK');
	like($answered->('late-gina'), qr{^SIP/2\.0 200 }, 'and has its answer');

	# In the middle of a call that is set up: what comes by that connection finds its way all the same.
	my $invite = sub {
		my $id = shift;
		$gina->say($gina->request('INVITE', id => $id, branch => "z9hG4bK-$id"));
		like($gina->wait(qr{^SIP/2\.0 1[^0]}), qr{^SIP/2\.0 180 }, "$id: it rings");
		my $options = $gina->wait(qr/^OPTIONS /);
		like($options, qr/^Call-ID: asked-$id\r$/m, "$id: and while it does, the server asks");
		$gina->answer($options, 200, 'OK');
		$answered->("asked-$id");
	};
	$invite->('taken');
	my $ok = $gina->wait(qr{^SIP/2\.0 [2-6].*^CSeq: 1 INVITE}ms);
	like($ok, qr{^SIP/2\.0 200 .*^Call-ID: taken\r$}ms, 'the call is taken');
	my @routes = reverse @{ routes($ok) };
	$gina->say($gina->request('ACK', id => 'taken', tag => 'server', uri => contact($ok), routes => \@routes));
	wait_heard('asks', 'ACK', 'taken');
	pass('the ACK arrives');
	$gina->say($gina->request('BYE', id => 'taken', cseq => 2, tag => 'server', uri => contact($ok), routes => \@routes));
	like($gina->wait(qr{^SIP/2\.0 .*^CSeq: 2 BYE}ms), qr{^SIP/2\.0 200 }, 'and so does the BYE');
	$invite->('given-up');
	$gina->say($gina->request('CANCEL', id => 'given-up', branch => 'z9hG4bK-given-up'));
	like($gina->wait(qr/CSeq: 1 CANCEL/), qr{^SIP/2\.0 200 }, 'another one is cancelled');
	like($gina->wait(qr{^SIP/2\.0 [2-6].*^CSeq: 1 INVITE}ms), qr{^SIP/2\.0 487 .*^Call-ID: given-up\r$}ms, 'and ends');
	my ($at, $there) = map { wait_heard('asks', $_, 'given-up') } qw(INVITE CANCEL);
	is(($there =~ /branch=(\S+?)[;\r]/)[0], ($at =~ /branch=(\S+?)[;\r]/)[0], 'its CANCEL belongs to its INVITE');
	wait_heard('asks', 'ACK', 'given-up');

	# A call that the server sets up is a call of this server.
	$say->('OPTIONS', 'call-me');
	$gina->answer($gina->wait(qr/^INVITE .*^Call-ID: called-gina\r$/ms), 200, 'OK');
	Steelyard::wait_for('her answer', sub { grep { m{^SIP/2\.0 200 } } heard('asks', undef, 'called-gina') });
	is($sy->seat('asks', 'a')->{figures}{dialogs}, 1, 'which is a call of this server');
	$gina->say($gina->request('BYE', id => 'called-gina', cseq => 7, tag => 's'));
	like($gina->wait(qr{^SIP/2\.0 .*^CSeq: 7 BYE}ms), qr{^SIP/2\.0 200 }, 'until she hangs up');
	my $f = figures('asks');
	is_deeply([ @$f{qw(transactions dialogs)}, $sy->seat('asks', 'a')->{figures}{dialogs} ], [ 0, 0, 0 ], 'nothing is left open');
};

is($sy->stop, 0, 'it ends well');
done_testing;
