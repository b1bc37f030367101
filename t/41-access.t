#!/usr/bin/env perl
# Who may do what at the console: a table of attempts, each refused with a reason or done and written
# down; over loopback, through a virtual service with TLS, with a password and with a certificate;
# and what a crowd of all kinds does to the data plane: nothing.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Certificates;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use MIME::Base64 qw(encode_base64);
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

my $dir = File::Temp::tempdir('steelyard-access-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $certs = Certificates->new;
$certs->authority('ca');
$certs->issue('site', ca => 'ca', names => ['lb.example.net', '127.0.0.1'], key => 'ec');
$certs->issue($_, ca => 'ca', cn => $_, key => 'ec') for qw(carol mallory);
sub pem { $certs->path("$_[0].$_[1]") }

sub passwd {
	my ($name, $role, $password) = @_;
	open my $in, '>', "$dir/in" or die $!;
	print $in "$password\n";
	close $in;
	my $line = `@{[ Steelyard::steelyardctl() ]} passwd $name $role < $dir/in`;
	return $line;
}
my %line = (alice => passwd('alice', 'operate', 'correct horse'), bob => passwd('bob', 'look', 'battery staple'));
like($line{alice}, qr/^alice:\$y\$[^:]+:operate\n\z/, 'steelyardctl passwd makes a line');
is(passwd('x', 'operate', 'short'), '', 'not of a short password');
sub users {
	open my $out, '>', "$dir/users" or die $!;
	print $out "# who may\n\n", @_;
	close $out;
}
users(@line{qw(alice bob)}, "carol:certificate:operate\n");

my $s1 = Steelyard->server('s1');
my $s2 = Steelyard->server('s2');
my $conf = sub {
	my %is = (console => 0, anonymous => 'look', more => '', @_);
	my $front = $is{console} ? <<"FRONT" : '';
pool console { server here 127.0.0.1:$is{console}; }
virtual-service console {
	listen 127.0.0.1:0 { tls { certificate @{[ pem(site => 'crt') ]}; key @{[ pem(site => 'key') ]}; client-certificate optional; ca @{[ pem(ca => 'crt') ]}; } }
	pool console;
	send-proxy console;
	monitor off;
}
FRONT
	return <<"CONF" . $front . $is{more};
console { listen 127.0.0.1:0; users $dir/users; anonymous $is{anonymous}; }
pool p {
	server s1 127.0.0.1:@{[ $s1->port ]};
	server s2 127.0.0.1:@{[ $s2->port ]};
}
virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 200ms; rise 1; fall 1; } }
CONF
};
my $sy = Steelyard->start($conf->());
my $console = $sy->console_port;
my ($ok, $said) = $sy->reload($conf->(console => $console));
ok($ok, 'a virtual service in front of the console') or diag $said;
$sy->wait_up('web', $_) for qw(s1 s2);
my $front = $sy->port('console');

# One request: (status, body, head). way: tcp (default), tls; cert => one of the above.
sub ask {
	my ($method, $path, %opt) = @_;
	my $sock = $opt{tls} ? IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $front, SSL_ca_file => pem(ca => 'crt'),
		SSL_verifycn_name => 'lb.example.net', $opt{cert} ? (SSL_cert_file => pem($opt{cert}, 'crt'), SSL_key_file => pem($opt{cert}, 'key')) : ())
		: IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console, Timeout => 10);
	die "connect: $@ $SSL_ERROR" unless $sock;
	my $body = defined $opt{body} ? JSON::PP::encode_json($opt{body}) : $opt{raw} // '';
	my %head = (Host => $opt{tls} ? 'lb.example.net' : 'localhost', Connection => 'close', 'Content-Length' => length $body,
		%{ $opt{head} || {} });
	print $sock "$method $path HTTP/1.1\r\n", (map { "$_: $head{$_}\r\n" } sort keys %head), "\r\n$body";
	local $/;
	my ($top, $rest) = split /\r\n\r\n/, <$sock> // '', 2;
	my ($status) = ($top // '') =~ m{^HTTP/1\.\d (\d+)};
	return ($status // 0, $rest // '', $top // '');
}

sub login {
	my ($user, $password, %opt) = @_;
	my ($status, $body, $head) = ask('POST', '/v1/login', body => { user => $user, password => $password }, %opt);
	return $status unless $status == 200;
	my ($cookie) = $head =~ /^Set-Cookie: ([^;\r\n]+)/im;
	return { Cookie => $cookie, 'X-Steelyard-Token' => JSON::PP::decode_json($body)->{token}, line => $head =~ /^Set-Cookie: (.*?)\r?$/im };
}
sub as { my ($session, %more) = @_; my %head = (%$session, %more); delete $head{line}; return (head => \%head) }
my @drain = ('POST', '/v1/servers/s1', body => { wish => 'drain' });
my @enable = ('POST', '/v1/servers/s1', body => { wish => 'enable' });

subtest 'without a login' => sub {
	my ($status, $body) = ask('GET', '/v1/status');
	is($status, 200, 'from this machine one may look');
	($status, $body) = ask(@drain);
	is($status, 401, 'and not change');
	like($body, qr/log in first/, 'it says what to do');
	is((ask('GET', '/', tls => 1))[0], 200, 'from elsewhere there is the page');
	($status, $body) = ask('GET', '/v1/status', tls => 1);
	is($status, 401, 'and nothing in it');
	like($body, qr/log in first/, 'with a reason');
	is((ask('GET', $_, tls => 1))[0], 401, "nor $_") for qw(/metrics /v1/config /v1/stream /v1/live /v1/connections /v1/connections/ended /v1/recorder);
	($status, $body) = ask('GET', '/v1/session', tls => 1);
	is_deeply(JSON::PP::decode_json($body), { user => undef, role => 'none', way => 'service', token => '', login => JSON::PP::true },
		'who one is: nobody');
};

subtest 'logging in' => sub {
	is(login('alice', 'wrong'), 401, 'not with a wrong password');
	is(login('nobody', 'wrong'), 401, 'not with a name that is not there');
	is(login('carol', 'certificate'), 401, 'not with the word in the file');
	is((ask('POST', '/v1/login', raw => '{"user":"alice"}'))[0], 400, 'half of it');
	is((ask('POST', '/v1/login', raw => 'user=alice'))[0], 400, 'no JSON');
	is((ask('POST', '/v1/login', body => { user => 'alice', password => 'correct horse' }, head => { Origin => 'http://evil.example' }))[0],
		403, 'not for the page of another site');
	my $alice = login('alice', 'correct horse');
	like($alice->{line}, qr/^steelyard=[0-9a-f]{32}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+$/, 'the cookie');
	my $far = login('alice', 'correct horse', tls => 1);
	like($far->{line}, qr/^__Host-steelyard=[0-9a-f]{32}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+; Secure$/, 'over TLS');
	my ($status, $body) = ask('GET', '/v1/session', as($alice));
	my $who = JSON::PP::decode_json($body);
	is("$who->{user} $who->{role}", 'alice operate', 'who one is then');
	is((ask('POST', '/v1/logout', as($alice)))[0], 200, 'out again');
	is((ask(@drain, as($alice)))[0], 401, 'and it is over');
};

my $alice = login('alice', 'correct horse', tls => 1);
my $bob = login('bob', 'battery staple', tls => 1);
my %wrong = (%$alice, 'X-Steelyard-Token' => '0' x 32);
my %none = %$alice;
delete $none{'X-Steelyard-Token'};
my @attempts = (
	['a change', 200, undef, @drain, tls => 1, as($alice)],
	['back', 200, undef, @enable, tls => 1, as($alice)],
	['role look looks', 200, undef, 'GET', '/v1/status', tls => 1, as($bob)],
	['role look changes', 403, qr/bob may only look/, @drain, tls => 1, as($bob)],
	['no token', 403, qr/X-Steelyard-Token/, @drain, tls => 1, as(\%none)],
	['a wrong token', 403, qr/X-Steelyard-Token/, @drain, tls => 1, as(\%wrong)],
	['role look does not trace', 403, qr/bob may only look/, 'POST', '/v1/trace', body => { service => 'web' }, tls => 1, as($bob)],
	['a trace without a token', 403, qr/X-Steelyard-Token/, 'POST', '/v1/trace', body => { service => 'web' }, tls => 1, as(\%none)],
	['nor fetches one', 403, qr/bob may only look/, 'POST', '/v1/trace/end', tls => 1, as($bob)],
	['role operate does not see into TLS, unless the configuration says so', 403, qr/trace-decrypted on/, 'POST', '/v1/trace', body => { service => 'web', decrypted => JSON::PP::true }, tls => 1, as($alice)],
	['role look sees what has ended', 200, undef, 'GET', '/v1/connections/ended', tls => 1, as($bob)],
	['another site', 403, qr/another site/, @drain, tls => 1, as($alice, 'Sec-Fetch-Site' => 'cross-site')],
	['a sibling site', 403, qr/another site/, @drain, tls => 1, as($alice, 'Sec-Fetch-Site' => 'same-site')],
	['another origin', 403, qr/another site/, @drain, tls => 1, as($alice, Origin => 'https://evil.example')],
	['an origin of nowhere', 403, qr/another site/, @drain, tls => 1, as($alice, Origin => 'null')],
	['its own origin', 200, undef, @enable, tls => 1, as($alice, Origin => 'https://lb.example.net', 'Sec-Fetch-Site' => 'same-origin')],
	['the cookie of TLS in clear', 401, qr/log in/, @drain, as($alice)],
	['a cookie that is none', 401, qr/log in/, @drain, tls => 1, head => { Cookie => '__Host-steelyard=' . 'f' x 32, 'X-Steelyard-Token' => 'x' }],
	['a cookie without end', qr/^(?:431|0)$/, undef, # a reset may overtake the answer
		 'GET', '/v1/status', tls => 1, head => { Cookie => 'a=' . 'b' x 20000 }],
	['basic', 200, undef, 'GET', '/metrics', tls => 1, head => { Authorization => 'Basic ' . encode_base64('bob:battery staple', '') }],
	['basic, again', 200, undef, 'GET', '/metrics', tls => 1, head => { Authorization => 'Basic ' . encode_base64('bob:battery staple', '') }],
	['basic that operates', 200, undef, @enable, tls => 1, head => { Authorization => 'Basic ' . encode_base64('alice:correct horse', '') }],
	['basic from another site', 403, qr/another site/, @drain, tls => 1,
		head => { Authorization => 'Basic ' . encode_base64('alice:correct horse', ''), Origin => 'https://evil.example' }],
	['basic, wrong', 401, qr/wrong name or password/, 'GET', '/metrics', tls => 1, head => { Authorization => 'Basic ' . encode_base64('bob:x', '') }],
	['bearer', 401, qr/Basic/, 'GET', '/metrics', tls => 1, head => { Authorization => 'Bearer x' }],
	['a certificate', 200, undef, @enable, tls => 1, cert => 'carol', head => { 'X-Steelyard-Token' => 'any' }],
	['a certificate, no header', 403, qr/X-Steelyard-Token/, @drain, tls => 1, cert => 'carol'],
	['a certificate of nobody here', 401, qr/log in/, 'GET', '/v1/status', tls => 1, cert => 'mallory'],
	['path tricks', 404, qr/there is no/, 'GET', '/../../etc/passwd', tls => 1, as($alice)],
	['encoded', 404, undef, 'GET', '/page/..%2f..%2fetc%2fpasswd', tls => 1],
	['twice', 404, undef, 'GET', '/page/%252e%252e/x', tls => 1],
	['a route with a tail', 404, qr/there is no/, 'POST', '/v1/stop/', tls => 1, as($alice)],
	['another case', 404, qr/there is no/, 'GET', '/V1/STATUS', tls => 1, as($alice)],
	['two slashes', 404, qr/there is no/, 'GET', '//v1/status', tls => 1, as($alice)],
	['a method in disguise', 401, qr/log in/, 'POST', '/v1/servers/s1', tls => 1, head => { 'X-HTTP-Method-Override' => 'GET' }, body => { wish => 'drain' }],
	['a body over the limit', 413, qr/65536/, 'POST', '/v1/servers/s1', tls => 1, as($alice), body => { wish => 'x' x 70000 }],
	['a misspelt member', 400, qr/does not know servce; it takes: wish service pool weight/, 'POST', '/v1/servers/s1', tls => 1, as($alice), body => { wish => 'drain', servce => 'web' }],
	['a service that is a number', 400, qr/service is a text/, 'POST', '/v1/servers/s1', tls => 1, as($alice), body => { wish => 'drain', service => 5 }],
	['a trial that is a number', 400, qr/confirm is a text/, 'POST', '/v1/reload', tls => 1, as($alice), body => { confirm => 300 }],
	['a service in the query', 400, qr/does not look at service in the query/, 'POST', '/v1/servers/s1?service=web', tls => 1, as($alice), body => { wish => 'drain' }],
	['a service in the body', 400, qr/does not look at service in the body/, 'DELETE', '/v1/connections?client=192.0.2.1', tls => 1, as($alice), body => { service => 'web' }],
	['a misspelt filter', 400, qr/does not know servce/, 'DELETE', '/v1/connections?client=192.0.2.1&servce=web', tls => 1, as($alice)],
	['an empty filter', 400, qr/service= has no value/, 'DELETE', '/v1/connections?client=192.0.2.1&service=', tls => 1, as($alice)],
	['a limit that is no number', 400, qr/limit= is a number/, 'GET', '/v1/events?limit=many', tls => 1, as($alice)],
	['a body without login', 401, undef, 'POST', '/v1/servers/s1', tls => 1, body => { wish => 'x' x 70000 }],
	['another name, in clear', 403, qr/Host/, 'GET', '/v1/status', head => { Host => 'evil.example' }],
);
for my $attempt (@attempts) {
	my ($name, $want, $words, @request) = @$attempt;
	my ($status, $body) = ask(@request);
	(ref $want ? like($status, $want, "$name: refused") : is($status, $want, "$name: $want")) or diag $body;
	like($body, $words, "$name: with the reason") if $words;
}
is($sy->seat('web', 's1')->{state}, 'up', 'and nothing of it has changed anything that it should not');

subtest 'the header of our workers cannot be made by others' => sub {
	my $v2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11";
	my $addrs = "\xc6\x33\x64\x07\x7f\0\0\1\x9c\x40\x01\xbb";
	for (['without a proof', $v2 . pack('n', 12) . $addrs], ['with a proof of zeros', $v2 . pack('n', 31) . $addrs . "\xe0\0\x10" . "\0" x 16],
			['of the time', $v2 . pack('n', 31) . $addrs . "\xe0\0\x10" . pack('Q>', int(time * 1000)) . 'abcdefgh'],
			['with a name', $v2 . pack('n', 47) . $addrs . "\x20\0\x0d\x03\0\0\0\0\x22\0\5carol" . "\xe0\0\x10" . pack('Q>', int(time * 1000)) . 'abcdefgh'],
			['local', "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"], ['huge', $v2 . pack('n', 60000) . $addrs], ['v1', "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"]) {
		my ($name, $bytes) = @$_;
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console) or die $@;
		print $sock $bytes, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
		local $/;
		like(<$sock> // '', qr{^(HTTP/1\.\d 4\d\d|$)}, $name);
	}
};

subtest 'the configuration minds' => sub {
	my %wrong = (
		'elsewhere than on loopback' => ["console { listen 0.0.0.0:0; }", qr/loopback only/],
		'in front of it without a proof' => ["console { listen 127.0.0.1:7; } pool c { server here 127.0.0.1:7; }\n"
			. "virtual-service c { listen 127.0.0.1:0; pool c; monitor off; }", qr/send-proxy console/],
		'in front of it in clear' => ["pool c { server here 127.0.0.1:7; }\n"
			. "virtual-service c { listen 127.0.0.1:0; pool c; monitor off; send-proxy console; }", qr/needs tls/],
		'a proof for another machine' => ["pool c { server there 192.0.2.1:7; }\nvirtual-service c { listen 127.0.0.1:0 { tls { certificate "
			. "@{[ pem(site => 'crt') ]}; key @{[ pem(site => 'key') ]}; } } pool c; monitor off; send-proxy console; }", qr/loopback address/],
		'users that are not there' => ["console { listen 127.0.0.1:0; users $dir/nothing; }", qr/cannot read/],
	);
	my %file = ('no role' => "x:\$y\$j9T\$abcdefghijklmnopqrstuv:\n", 'a plain password' => "x:secret:look\n", 'a line' => "hello\n",
		'twice' => "x:certificate:look\nx:certificate:look\n", 'nobody' => "# none\n");
	for my $name (sort keys %wrong) {
		my ($ok, $text) = $sy->reload($wrong{$name}[0]);
		ok(!$ok, $name);
		like($text, $wrong{$name}[1], "$name: in words");
	}
	for my $name (sort keys %file) {
		users($file{$name});
		my ($ok, $text) = $sy->reload($conf->(console => $console));
		ok(!$ok, "a users file: $name");
		like($text, qr/users(:\d+)?: /, 'with file and line') or diag $text;
	}
	users(@line{qw(alice bob)}, "carol:certificate:operate\n");
};

subtest 'a reload' => sub {
	my ($ok, $text) = $sy->reload($conf->(console => $console));
	ok($ok, 'is done') or diag $text;
	is((ask('GET', '/v1/status', tls => 1, as($bob)))[0], 200, 'sessions live on');
	users($line{alice}, $line{bob} =~ s/:look/:operate/r);
	($ok) = $sy->reload;
	is((ask('GET', '/v1/status', tls => 1, as($bob)))[0], 401, 'not of one whose line is another');
	is((ask('GET', '/v1/status', tls => 1, as($alice)))[0], 200, 'the others do');
	($ok) = $sy->reload($conf->(console => $console, anonymous => 'off'));
	is((ask('GET', '/v1/status'))[0], 401, 'anonymous off: not even a look');
	is(scalar $sy->api('GET', '/v1/status')->{services_total}, 2, 'the control socket needs no login');
	users(@line{qw(alice bob)}, "carol:certificate:operate\n");
	$sy->reload($conf->(console => $console));
};

subtest 'what was done is written down' => sub {
	$sy->ctl('drain', 's2');
	$sy->ctl('enable', 's2');
	my $log = $sy->log_text;
	like($log, qr{audit POST /v1/servers/s1 \{"wish":"drain"\}: done who=alice from=127\.0\.0\.1 status=200}, 'by whom, from where');
	like($log, qr{audit POST /v1/servers/s1: .*may only look.* who=bob from=127\.0\.0\.1 status=403}, 'what was refused, too');
	like($log, qr{audit POST /v1/servers/s2 \{"wish":"drain"\}: done who="uid \d+" from="control socket, pid \d+" status=200}, 'and on the control socket');
	like($log, qr{audit refused: wrong name or password who=alice from=127\.0\.0\.1}, 'a failed login');
	like($log, qr{audit POST .*who=carol from=127\.0\.0\.1 certificate=carol}, 'a certificate');
	unlike($log, qr/correct horse|battery staple/, 'and no password');
	my $events = join "\n", map { $_->{words} } @{ $sy->api('GET', '/v1/events?limit=500')->{events} };
	like($events, qr/alice \(127\.0\.0\.1\): POST/, 'the events tell it');
};

subtest 'guessing' => sub {
	my %got;
	$got{ login('bob', "guess $_", tls => 1) }++ for 1 .. 12;
	ok($got{401} && $got{429} && $got{401} <= 6, 'after a few tries one has to wait') or diag explain \%got;
	my ($status, $body, $head) = ask('POST', '/v1/login', tls => 1, body => { user => 'alice', password => 'correct horse' });
	is($status, 429, 'with the right password, too');
	like($body, qr/from this address: wait \d+ s/, 'in words');
	like($head, qr/^Retry-After: \d+/im, 'and how long');
	is((ask('GET', '/v1/status', tls => 1, as($alice)))[0], 200, 'who is in stays in');
};

subtest 'a crowd of all kinds, and the data plane' => sub {
	my ($port, @crowd, %said) = ($sy->port('web'));
	my $hello = sub {
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10) or return 0;
		print $sock "hello\n";
		return (<$sock> // '') =~ /hello/;
	};
	for my $n (1 .. 1000) {
		my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console, Timeout => 10) or last;
		push @crowd, $sock;
		print $sock "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
	}
	is(scalar @crowd, 1000, 'a thousand ask for the stream of events');
	my $select = IO::Select->new(@crowd);
	my $until = time + 30;
	while (keys %said < 1000 && time < $until) {
		for my $sock ($select->can_read(1)) {
			my $n = sysread $sock, my $bytes, 4096;
			$select->remove($sock);
			$said{$sock} = $n ? $bytes =~ m{^HTTP/1.1 (\d+)} ? $1 : 'odd' : 'closed';
		}
	}
	my %count;
	$count{$_}++ for values %said;
	is($count{200}, 64, 'some are served') or diag explain \%count;
	is(($count{503} || 0), 936, 'the others are told why not');
	my $start = time;
	is(scalar(grep { $hello->() } 1 .. 50), 50, 'fifty exchanges meanwhile');
	diag sprintf 'fifty exchanges beside a thousand streams: %.2f s', time - $start;
	ok($sy->api('GET', '/v1/status'), 'and the control socket answers');
	@crowd = ();
	my @slow = map { my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $console); print $sock "GET /v1/sta" if $_ % 2; $sock } 1 .. 40;
	$start = time;
	my $gone = 0;
	while ($gone < @slow && time < $start + 60) {
		for my $sock (IO::Select->new(grep { $_->opened } @slow)->can_read(1)) {
			my $n = sysread $sock, my $bytes, 4096;
			next if $n;
			$gone++;
			close $sock;
		}
		for my $sock (grep { $_->opened } @slow) {
			syswrite $sock, 't'; # a byte now and then is no request
		}
		is($hello->(), 1, 'the data plane') unless $gone;
	}
	is($gone, 40, sprintf 'those who never come to the point are let go (%.0f s)', time - $start);
	is((ask('GET', '/v1/status'))[0], 200, 'and there is room again');
};
is($sy->stop, 0, 'it ends well');
done_testing;
