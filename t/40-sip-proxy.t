#!/usr/bin/env perl
# protocol sip in mode proxy, over streams: every request is balanced for itself, and what belongs together
# stays together. Scripted peers, which write down what they hear, and SIPp.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Sip qw(usual request response field messages uas heard wait_heard sipp sipp_server);
use Steelyard;
use Way qw(dial say hear hear_all line_of);

my @name = qw(s1 s2);
my %uas = map { my $n = $_; $n => uas($n, usual($n)) } @name;
# Servers that do not want more, and one that says so beside its answer.
my $busy = sub {
	my ($name, $calls) = @_;
	return sub {
		my $message = shift;
		return '' if $message =~ /^(?:ACK|SIP)/;
		return response($message, 503, 'Busy', "Retry-After: 20\r\nServer: $name\r\n");
	};
};
$uas{busy} = uas('busy', $busy->('busy'));
$uas{busy2} = uas('busy2', $busy->('busy2'));
$uas{less} = uas('less', sub {
	my $message = shift;
	my $said = usual('less')->($message);
	return $said =~ s/^(Via:[^\r]*?);oc;oc-algo="loss"/$1;oc=75;oc-algo="loss";oc-validity=30000;oc-seq=1.1/mr;
});
# It does not end a ringing call by itself.
$uas{bell} = uas('bell', sub {
	my $message = shift;
	return response($message, 180, 'Ringing') if $message =~ /^INVITE/;
	return '' if $message =~ /^(?:ACK|SIP)/;
	return response($message, 200, 'OK') unless $message =~ /^CANCEL/;
	my ($invite) = heard('bell', 'INVITE', field($message, 'Call-ID'));
	return response($message, 200, 'OK') . response($invite, 487, 'Request Terminated');
});
# It has begun with a request when it dies.
$uas{trying} = uas('trying', sub { exec 'true' });
my ($sipp1, $sipp2) = map { sipp_server('t1', scenario => Sip::callee()) } 1 .. 2;

sub pool { my $name = shift; return "pool $name { " . join(' ', map { "server $_ 127.0.0.1:" . $uas{$_}->port . ';' } @_) . " }\n" }
sub service {
	my ($name, $pool, $more) = @_;
	return "virtual-service $name { listen 127.0.0.1:0; protocol sip { mode proxy; " . ($more // '')
		. " } pool $pool; scheduler round-robin; monitor off; }\n";
}
my $sipp_pool = sub { "pool calls { server c1 127.0.0.1:$sipp1->{port}; server c2 127.0.0.1:$sipp2->{port}; }\n" };
my $conf = sub {
	return pool('two', qw(s1 s2)) . pool('busy', qw(busy s1)) . pool('all-busy', qw(busy busy2)) . pool('less', qw(less s1))
		. pool('bell', 'bell') . pool('trying', 'trying') . $sipp_pool->()
		. service('two', 'two') . service('busy', 'busy') . service('all-busy', 'all-busy') . service('less', 'less')
		. service('bell', 'bell') . service('trying', 'trying') . service('plain', 'two', 'record-route off; path off; overload-control off;')
		. service('named', 'two', 'client-side sip.example.net; server-side 127.0.0.1:5999; path supported;')
		. "virtual-service calls { listen 127.0.0.1:0; protocol sip { mode proxy; } pool calls; scheduler round-robin; "
		. "persistence sip; monitor off; }\n"
		. "virtual-service steady { listen 127.0.0.1:0; protocol sip { mode proxy; } pool two; scheduler round-robin; "
		. "persistence sip; monitor off; }\n" . ($_[0] // '');
};
my $sy = Steelyard->start($conf->());
my %port = map { $_ => $sy->port($_) } qw(two busy all-busy less bell trying plain named calls steady);

sub figures {
	my ($service) = @_;
	my ($found) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return $found->{figures};
}
# One request, one final answer.
sub ask {
	my ($sock, @request) = @_;
	say($sock, @request == 1 ? $request[0] : request(@request));
	return hear($sock, qr{^SIP/2\.0 [2-6].*\r\n\r\n\z}ms) =~ s{^SIP/2\.0 1.*?\r\n\r\n}{}sr;
}

# So many final ones.
sub answers {
	my ($sock, $n) = @_;
	my $got = '';
	$got .= hear($sock, qr/\r\n\z/) while $got !~ /<\w+>\z/ && (() = $got =~ m{^SIP/2\.0 [2-6].*?\r\n\r\n}msg) < $n;
	return $got;
}

subtest 'a request and its answer' => sub {
	my $sock = dial($port{two});
	my $got = ask($sock, 'INVITE', id => 'one', more => "X-Odd : a\r\n  b\r\n", body => "v=0\r\n");
	like($got, qr{^SIP/2\.0 200 OK\r\nVia: SIP/2\.0/TCP 192\.0\.2\.1:5060;branch=z9hG4bK-one-INVITE-1;received=127\.0\.0\.1\r\n}, 'its Via is told where it came from');
	is(() = $got =~ /^Via:/mg, 1, 'and is the only one in the answer');
	my ($at) = grep { heard($_, 'INVITE', 'one') } @name;
	my ($invite) = heard($at, 'INVITE', 'one');
	my $vip = "127\\.0\\.0\\.1:$port{two}";
	like($invite, qr{^INVITE sip:alice\@example\.com SIP/2\.0\r\nVia: SIP/2\.0/TCP $vip;branch=z9hG4bK[\w-]{30,};oc;oc-algo="loss"\r\n}, 'the server sees our Via on top');
	like($invite, qr{^Record-Route: <sip:[\w-]+\@$vip;transport=tcp;lr>\r\nRecord-Route: <sip:[\w-]+\@$vip;transport=tcp;lr>\r\n}m, 'and both our Routes');
	like($invite, qr/^Max-Forwards: 69\r$/m, 'one hop less');
	like($invite, qr/^X-Odd : a\r\n  b\r\n/m, 'all else is as it was');
	like($invite, qr/\r\n\r\nv=0\r\n\z/, 'and so is the body');
	is(() = $got =~ m{^SIP/2\.0 }mg, 1, 'one answer');
	$got = ask(dial($port{plain}), 'INVITE', id => 'plain');
	($invite) = map { heard($_, 'INVITE', 'plain') } @name;
	unlike($invite, qr/Record-Route|;oc/, 'record-route off, overload-control off');
	ask(dial($port{two}), 'REGISTER', id => 'reg');
	my ($register) = map { heard($_, 'REGISTER', 'reg') } @name;
	like($register, qr{^Path: <sip:[\w-]+\@$vip;transport=tcp;lr>\r$}m, 'a REGISTER gets a Path');
	unlike($register, qr/Record-Route/, 'and no Record-Route');
	ask(dial($port{named}), 'REGISTER', id => 'named', more => "Supported: gruu, path\r\n");
	($register) = map { heard($_, 'REGISTER', 'named') } @name;
	like($register, qr{^Path: <sip:[\w-]+\@127\.0\.0\.1:5999;transport=tcp;lr>\r$}m, 'server-side is what servers are told');
	ask(dial($port{named}), 'INVITE', id => 'named-2');
	($invite) = map { heard($_, 'INVITE', 'named-2') } @name;
	like($invite, qr{^Record-Route: <sip:[\w-]+\@127\.0\.0\.1:5999;.*\r\nRecord-Route: <sip:[\w-]+\@sip\.example\.net;}m, 'client-side is what clients are');
	ask(dial($port{named}), 'REGISTER', id => 'named-3');
	unlike((map { heard($_, 'REGISTER', 'named-3') } @name)[0], qr/^Path/m, 'path supported: not for those that do not say so');
};

# A call: its INVITE, ACK and BYE, with the Routes that the answer told. Returns the servers of the three.
sub call {
	my ($sock, $id, $other) = @_;
	my $got = ask($sock, 'INVITE', id => $id);
	my $server = field($got, 'Server');
	my $routes = join '', map { "Route: $_\r\n" } reverse $got =~ /^Record-Route: (.*)\r$/mg;
	my $more = ';tag=server';
	say($sock, request('ACK', id => $id, to => $more, more => $routes, branch => "z9hG4bK-ack-$id"));
	my $bye = ask($other || $sock, 'BYE', id => $id, cseq => 2, to => $more, more => $routes);
	wait_heard($server, 'ACK', $id);
	return ($server, field($bye, 'Server'), scalar(map { heard($_, 'ACK', $id) } @name));
}

subtest 'what belongs together' => sub {
	my %at;
	for my $i (1 .. 8) {
		my $sock = dial($port{two});
		my ($invite, $bye, $acks) = call($sock, "call-$i", $i > 4 ? dial($port{two}) : undef);
		$at{$invite}++;
		is("$bye $acks", "$invite 1", "call $i: ACK and BYE go to the server that answered" . ($i > 4 ? ', from another connection' : ''));
	}
	cmp_ok(scalar keys %at, '==', 2, 'calls are spread');
	my ($bye) = map { heard($_, 'BYE', 'call-1') } @name;
	unlike($bye, qr/^Route:/m, 'our Routes are taken away');
	my %server;
	my $sock = dial($port{two});
	$server{ field(ask($sock, 'OPTIONS', id => "each-$_"), 'Server') }++ for 1 .. 10;
	is_deeply(\%server, { s1 => 5, s2 => 5 }, 'requests of one connection are balanced each for itself');
};

subtest 'what is not sent on' => sub {
	my $sock = dial($port{two});
	like(ask($sock, request('OPTIONS', id => 'mf') =~ s/Max-Forwards: 70/Max-Forwards: 0/r), qr{^SIP/2\.0 483 Too Many Hops\r\n}, 'Max-Forwards 0: 483');
	my $got = ask($sock, 'INVITE', id => 'token');
	my ($record) = reverse $got =~ /^Record-Route: (.*)\r$/mg;
	my ($token) = $record =~ /sip:([\w-]+)\@/;
	my $last = substr $token, -1;
	my $forged = $record =~ s/$last\@/($last eq 'A' ? 'B' : 'A') . '@'/er;
	like(ask($sock, 'BYE', id => 'token', cseq => 2, to => ';tag=server', more => "Route: $forged\r\n"), qr{^SIP/2\.0 403 Forbidden: a Route of Another Key, or of Another Call\r\n}, 'a token that was changed: 403');
	like(ask($sock, 'BYE', id => 'other', cseq => 2, to => ';tag=server', more => "Route: $record\r\n"), qr{^SIP/2\.0 403 }, 'the token of another call, too');
	my ($invite) = map { heard($_, 'INVITE', 'token') } @name;
	like(ask($sock, $invite), qr{^SIP/2\.0 482 Loop Detected\r\n}, 'a request that comes back: 482');
	like(ask(dial($port{two}), $invite =~ s/sip:alice\@example\.com SIP/sip:bert\@192.0.2.1 SIP/r), qr{^SIP/2\.0 200 }, 'as another one it is welcome');
	like(ask(dial($port{two}), $invite =~ s/(branch=z9hG4bK)\w/$1_/r), qr{^SIP/2\.0 200 }, 'a branch that was made up is no proof of a loop');
	is(scalar(map { heard($_, undef, 'mf') } @name), 0, 'servers hear nothing of what is refused');
};

subtest 'a server that does not want more' => sub {
	my $sock = dial($port{busy});
	my %server;
	$server{ field(ask($sock, 'INVITE', id => "busy-$_"), 'Server') }++ for 1 .. 20;
	is_deeply(\%server, { s1 => 20 }, '503: another one is tried, and the client does not notice');
	my @asked = heard('busy', 'INVITE');
	cmp_ok(scalar @asked, '>=', 1, 'it was asked: ' . @asked);
	cmp_ok(scalar @asked, '<=', 8, 'and then less often, for as long as Retry-After says');
	my @acks = heard('busy', 'ACK');
	is(scalar @acks, scalar @asked, 'its answers get their ACK');
	my ($one, $ack) = ($asked[0], $acks[0]);
	is(($ack =~ /branch=(\S+?)[;\r]/)[0], ($one =~ /branch=(\S+?)[;\r]/)[0], 'with the branch of the INVITE');
	like($ack, qr/^To: .*;tag=server\r$/m, 'and the tag of the answer');
	my ($again) = heard('s1', 'INVITE', field($one, 'Call-ID'));
	isnt(($again =~ /branch=(\S+?)[;\r]/)[0], ($one =~ /branch=(\S+?)[;\r]/)[0], 'the other server gets another branch');
	my $got = ask(dial($port{'all-busy'}), 'OPTIONS', id => 'all-busy');
	like($got, qr{^SIP/2\.0 503 Service Unavailable\r\nRetry-After: 20\r\n}, 'all of them: 503, with their Retry-After');
	is(scalar(map { heard($_, undef, 'all-busy') } qw(busy busy2)), 2, 'each was asked once');
	%server = ();
	$sock = dial($port{less});
	$server{ field(ask($sock, 'OPTIONS', id => "less-$_"), 'Server') }++ for 1 .. 20;
	cmp_ok($server{less}, '<', $server{s1}, "oc=75 (RFC 7339): less of what is new: $server{less} to $server{s1}");
};

subtest 'CANCEL' => sub {
	my $sock = dial($port{bell});
	my $invite = request('INVITE', id => 'cancel', branch => 'z9hG4bKcancel');
	say($sock, $invite);
	like(hear($sock, qr{180 Ringing.*\r\n\r\n\z}s), qr{^SIP/2\.0 100 Trying\r\n.*^SIP/2\.0 180 Ringing}ms, '100 is ours, 180 the server\'s');
	is(figures('bell')->{transactions}, 1, 'the request is open');
	say($sock, request('CANCEL', id => 'cancel', branch => 'z9hG4bKcancel'));
	my $got = hear($sock, qr{487.*\r\n\r\n\z}s);
	like($got, qr{^SIP/2\.0 200 OK\r\n.*CSeq: 1 CANCEL\r\n.*^SIP/2\.0 487 .*CSeq: 1 INVITE\r\n}ms, '200 to it, 487 to the INVITE');
	is(() = $got =~ m{^SIP/2\.0}mg, 2, 'and nothing else');
	say($sock, request('ACK', id => 'cancel', branch => 'z9hG4bKcancel', to => ';tag=server'));
	my ($at, $there) = (wait_heard('bell', 'INVITE', 'cancel'), wait_heard('bell', 'CANCEL', 'cancel'));
	is(($there =~ /branch=(\S+?)[;\r]/)[0], ($at =~ /branch=(\S+?)[;\r]/)[0], 'it has the branch of the INVITE');
	is(() = $there =~ /^Via:/mg, 1, 'and our Via alone');
	wait_heard('bell', 'ACK', 'cancel');
	is(ask($sock, 'OPTIONS', id => 'after') =~ m{^SIP/2\.0 200} && scalar heard('bell', 'ACK', 'cancel'), 1, 'the ACK is ours: the client\'s goes no further');
	is(figures('bell')->{transactions}, 0, 'nothing is open');
	# Before the server has rung: it waits.
	say($sock, request('INVITE', id => 'early', branch => 'z9hG4bKearly') . request('CANCEL', id => 'early', branch => 'z9hG4bKearly'));
	like(hear($sock, qr{487.*\r\n\r\n\z}s), qr{487}, 'a CANCEL in one piece with its INVITE');
	my @order = map { /^(\w+)/ } heard('bell', undef, 'early');
	is("@order[0, 1]", 'INVITE CANCEL', 'the server hears them in order');
};

subtest 'keep-alives, cuts and nonsense' => sub {
	my $sock = dial($port{two});
	say($sock, "\r\n\r\n");
	is(hear($sock, qr/\r\n/), "\r\n", 'a ping is answered');
	my $all = join '', map { request('OPTIONS', cseq => $_, id => 'cuts', body => 'x' x ($_ * 7)) . "\r\n\r\n" } 1 .. 4;
	say($sock, $_) for split //, $all;
	my $got = answers($sock, 4);
	is(() = $got =~ m{^SIP/2\.0 200}mg, 4, 'byte by byte: each is answered');
	$sock = dial($port{two});
	say($sock, join '', map { request('MESSAGE', cseq => $_, id => "many-$_", body => 'y' x 3000) } 1 .. 100);
	$got = answers($sock, 100);
	is(() = $got =~ m{^SIP/2\.0 200}mg, 100, '100 in one piece: each is answered');
	like(ask($sock, 'MESSAGE', id => 'large', body => 'z' x 50000), qr{^SIP/2\.0 200}, '50,000 bytes in one message');
	say($sock, request('MESSAGE', id => 'larger', body => 'z' x 60000));
	like(hear_all($sock), qr{^SIP/2\.0 513 Message Too Large\r\n.*<(?:end|reset)>\z}s, '60,000 are too many');
	ok($sy->wait_log(qr/a message longer than what mode proxy takes/), 'in words');
	$sock = dial($port{two});
	say($sock, request('OPTIONS', more => "Content-Length: 5\r\n"));
	like(hear_all($sock), qr{^SIP/2\.0 400 Bad Request\r\n.*<(?:end|reset)>\z}s, 'smuggling gets a 400 and the end');
	$sock = dial($port{two});
	say($sock, response(request('OPTIONS'), 200, 'OK') . request('OPTIONS', id => 'after-stray'));
	like(hear($sock, qr/\r\n\r\n/), qr{^SIP/2\.0 200.*after-stray}s, 'an answer that nobody asked for is nobody\'s');
};

subtest 'a server dies' => sub {
	my $sock = dial($port{trying});
	say($sock, request('INVITE', id => 'dies'));
	like(hear($sock, qr{^SIP/2\.0 [2-6].*\r\n\r\n\z}ms), qr{^SIP/2\.0 503 }m, 'the client is told: 503');
	my $after = dial($port{two});
	$uas{s1}->kill;
	my @got = map { field(ask($after, 'OPTIONS', id => "elsewhere-$_"), 'Server') } 1 .. 4;
	ok(1, "requests after that: @got");
	$uas{s1}->again;
};

sub ran {
	my ($got, $calls, $name) = @_;
	ok($got->{ok} && ($got->{failed} // 1) == 0 && ($got->{good} // 0) == $calls, "$name: $calls calls, none failed")
		or diag $got->{text};
}

subtest 'calls, by SIPp' => sub {
	ran(sipp([ qw(-sn uac -t t1 -m 60 -r 60), "127.0.0.1:$port{calls}" ]), 60, 'one connection for all');
	ran(sipp([ qw(-sn uac -t tn -max_socket 200 -m 60 -r 60), "127.0.0.1:$port{calls}" ]), 60, 'a connection for each');
	my %calls = map { $_ => $sy->seat('calls', $_)->{figures}{requests_invite} } qw(c1 c2);
	is($calls{c1} + $calls{c2}, 120, 'INVITEs are counted, by server');
	cmp_ok(abs($calls{c1} - 60), '<=', 20, "and spread: $calls{c1} to $calls{c2}");
	my $f = figures('calls');
	is_deeply([ @$f{qw(requests_ack requests_bye answers_2xx final_answers)} ], [ 120, 120, 240, 240 ], 'ACK, BYE and answers are counted');
	is_deeply([ @$f{qw(transactions dialogs refused unanswered)} ], [ 0, 0, 0, 0 ], 'nothing is left open');
};

# SIPp's own server dies of a connection that ends while one of its calls came by it, and a reload ends those
# that wait for the next request: these servers are ours.
subtest 'no call fails' => sub {
	my $run = Sip::sipp_start([ qw(-sn uac -t tn -max_socket 1000 -m 240 -r 40 -d 600), "127.0.0.1:$port{steady}" ]);
	my $seen = sub { my $n = shift; Steelyard::wait_for("$n calls", sub { (figures('steady')->{requests_invite} // 0) >= $n }) };
	$seen->(30);
	my ($ok, $text) = $sy->reload($conf->("# again\n"));
	ok($ok, 'a reload') or diag $text;
	$seen->(90);
	($text, my $status) = $sy->ctl('drain', 's1', '--pool', 'two');
	is($status, 0, 'one server is drained') or diag $text;
	$sy->api('GET', '/v1/connections');
	my $before = $sy->seat('steady', 's1')->{figures}{requests_invite};
	$seen->(140);
	ran($run->finish, 240, 'all the while');
	my $f = figures('steady');
	is($sy->seat('steady', 's1')->{figures}{requests_invite}, $before, 'the drained server gets no new call');
	is($f->{requests_bye}, 240, 'each call was ended');
	is_deeply([ @$f{qw(transactions dialogs unanswered refused)} ], [ 0, 0, 0, 0 ], 'and no transaction is lost');
};

is($sy->stop, 0, 'it ends well');
done_testing;
