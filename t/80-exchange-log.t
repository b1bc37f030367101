#!/usr/bin/env perl
# exchange-log: a line as the operator wants it, for each exchange; which of them have one; and what is
# wrong in a format or a rule is told when the file is loaded.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Way qw(dial say hear hear_all);
use File::Temp qw(tempdir);

my $dir = tempdir('steelyard-exchange-log-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

# A web server: the path says which status, and how slow.
my $web = Steelyard->server('web', each => sub {
	my $sock = shift;
	my $in = '';
	while (1) {
		until ($in =~ /\r\n\r\n/) { sysread($sock, $in, 65536, length $in) or return }
		$in =~ s/^(.*?)\r\n\r\n//s;
		my ($status, $slow) = $1 =~ m{^\w+ /(\d+)(?:/(\d+))?};
		select undef, undef, undef, $slow / 1000 if $slow;
		syswrite $sock, 'HTTP/1.1 ' . ($status // 200) . " x\r\nContent-Length: 2\r\n\r\nok";
	}
});
my $echo = Steelyard->server('echo');
my $services = <<"CONF";
pool w { server web 127.0.0.1:@{[ $web->port ]}; }
pool e { server echo 127.0.0.1:@{[ $echo->port ]}; }
pool gone { server gone 127.0.0.1:1; }
virtual-service web { listen 127.0.0.1:0; protocol http; pool w; monitor off; }
virtual-service own { listen 127.0.0.1:0; protocol http { rule { path /deny; deny on; } rule { path /go; redirect https://%host/; } } pool w; monitor off; }
virtual-service tcp { listen 127.0.0.1:0; pool e; monitor off; }
virtual-service gone { listen 127.0.0.1:0; pool gone; monitor off; }
CONF
my $sip = Steelyard->server('sip', each => sub {
	my $sock = shift;
	my $in = '';
	while (sysread $sock, $in, 65536, length $in) {
		while ($in =~ s/^(.*?\r\n\r\n)//s) {
			my $head = join '', map { "$_\r\n" } grep { /^(Via|From|To|Call-ID|CSeq):/ } split /\r\n/, $1;
			syswrite $sock, "SIP/2.0 486 Busy Here\r\n" . $head =~ s/^(To:.*?)\r/$1;tag=2\r/mr . "Content-Length: 0\r\n\r\n";
		}
	}
});
$services .= <<"CONF";
pool s { server sip 127.0.0.1:@{[ $sip->port ]}; }
virtual-service sip { listen 127.0.0.1:0; protocol sip { mode connection; } pool s; monitor off; }
CONF
my $log = "$dir/log";
my $sy = Steelyard->start("workers 1;\nlog stderr;\n$services");
my %port;
my $turn = 0;

# Another exchange-log block, with a log of its own.
sub log_as {
	my ($block, $format) = @_;
	$log = "$dir/log" . ++$turn;
	my ($ok, $text) = $sy->reload("workers 1;\nlog file $log" . ($format // '') . ";\n$services$block");
	ok($ok, 'the configuration is good') or diag $text;
	$port{$_} = $sy->port($_) for qw(web own tcp gone sip);
}
sub slurp { open my $in, '<', $log or return ''; local $/; return <$in> // '' }
# The lines of ended connections and exchanges, when there are at least so many.
sub lines {
	my ($n, $pattern) = @_;
	my @got;
	Steelyard::wait_for("$n lines of $log like $pattern", sub { @got = grep { /$pattern/ } split /\n/, slurp(); @got >= $n });
	return @got;
}
sub quiet { Steelyard::wait_for('all to have ended', sub { $sy->api('GET', '/v1/status')->{active} == 0 }) }
# Requests over one connection: the paths.
sub get {
	my @paths = @_;
	my $sock = dial($port{web});
	for my $path (@paths) {
		say($sock, "GET $path HTTP/1.1\r\nHost: Web.Example.net\r\n\r\n");
		hear($sock, qr/\r\n\r\n/);
	}
	close $sock;
	quiet();
}
sub tcp { my $sock = dial($port{tcp}); say($sock, "hello\n"); hear($sock, qr/\n/); close $sock; quiet() }

subtest 'a line for each exchange' => sub {
	log_as("exchange-log { exchanges on; }\n");
	get('/200?secret=1', '/404');
	my @lines = lines(2, qr/ exchange /);
	is(@lines, 2, 'two requests, two lines');
	like($lines[0], qr{ method=GET host=web\.example\.net path=/200 status=200 ms=\d+ .*end=done$}, 'the first');
	like($lines[1], qr{ path=/404 status=404 .*end=done$}, 'the second');
	like($lines[0], qr{ service=web client=127\.0\.0\.1:\d+ vip=127\.0\.0\.1:\d+ source=127\.0\.0\.1:\d+ server=web address=127\.0\.0\.1:\d+ why=\w+}, 'with both tuples');
	like($lines[0], qr/ response_us=\d+ up=\d+ down=\d+ /, 'with times and bytes');
	unlike("@lines", qr/secret/, 'a query is not told');
	my ($up, $down) = (0, 0);
	for (@lines) { my ($u, $d) = / up=(\d+) down=(\d+)/; $up += $u; $down += $d }
	my ($conn) = lines(1, qr/ connection .*service=web/);
	like($conn, qr/ up=$up down=$down exchanges=2 end=\S+$/, 'they add up to the connection');
	log_as('');
	get('/200', '/200');
	is(scalar(lines(1, qr/ connection /)), 1, 'without it there is the connection');
	is(scalar(grep { / exchange / } split /\n/, slurp()), 0, 'and nothing else');
};

subtest 'answers of our own' => sub {
	log_as("exchange-log { exchanges on; }\n");
	my $sock = dial($port{own});
	say($sock, "GET /$_ HTTP/1.1\r\nHost: a\r\n\r\n"), hear($sock, qr/\r\n\r\n/) for qw(200 deny go);
	say($sock, "GET /x HTTP/1.1\r\nHost : a\r\n\r\n");
	hear_all($sock);
	$sock = dial($port{own});
	say($sock, "POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
	hear_all($sock);
	quiet();
	my @lines = lines(5, qr/ exchange .*service=own/);
	is(@lines, 5, 'each has a line');
	like($lines[0], qr/ server=web .* path=\/200 status=200 /, 'beside those of servers');
	like($lines[1], qr/exchange a rule denies the request .* vip=\S+ why=answered-here method=GET host=a path=\/deny status=403 ms=0 up=\d+ down=0 end=done$/,
		'which says why, and of no server');
	like($lines[2], qr/exchange a rule redirects the client .* path=\/go status=302 /, 'a redirect');
	like($lines[3], qr/exchange protocol: a blank stands before a colon .* why=answered-here status=400 ms=0 up=\d+ down=0 end=protocol$/,
		'a refusal, of which nothing is known, not even from the request before');
	like($lines[4], qr/exchange protocol: a rule denies the request .* path=\/deny status=403 .*end=protocol$/, 'what ends the connection');
	my ($conn) = grep { /exchanges=3/ } lines(2, qr/ connection .*service=own/);
	my ($up, $down) = (0, 0);
	for (@lines[0 .. 3]) { my ($u, $d) = / up=(\d+) down=(\d+)/; $up += $u; $down += $d }
	like($conn, qr/ up=$up down=$down exchanges=3 end=protocol$/, 'and they add up');
	$sock = dial($port{own});
	say($sock, "GET /go HTTP/1.1\r\nHost: a\r\n\r\n");
	hear($sock, qr/\r\n\r\n/);
	close $sock;
	quiet();
	like((lines(3, qr/ connection .*service=own/))[-1], qr/ exchanges=1 end=client-done$/, 'who leaves after one was not early');
};

subtest 'a format' => sub {
	log_as("exchange-log { exchanges on; format '%client [%time] \"%method %host%path\" %status %down %{ms}ms %server %% %sni %event %end (%words) w%worker'; }\n");
	my $sock = dial($port{web});
	say($sock, "GET /200/\"quoted\\end HTTP/1.1\r\nHost: web\r\n\r\n");
	my $heard = hear($sock, qr/\r\n\r\n/);
	close $sock;
	quiet();
	tcp();
	my @lines = lines(2, qr/./);
	my ($asked) = grep { /exchange/ } @lines;
	SKIP: {
		skip 'the request was refused', 1 unless $heard =~ / 200 /;
		like($asked, qr/^127\.0\.0\.1:\d+ \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "GET web\/200\/\\"quoted\\\\end" 200 \d+ \d+ms web % - exchange done \(it is complete\) w0$/,
			'nothing else is on it, and nothing ends a word early');
	}
	my ($plain) = lines(1, qr/ echo % /);
	like($plain, qr/^127\.0\.0\.1:\d+ \[\S+\] "- --" - \d+ \d+ms echo % - connection client-done \(client closed first\) w0$/,
		'what has no value is a dash');
	my $before = () = slurp() =~ /\n/g;
	log_as("exchange-log { format 'a line'; }\n", ' format=json');
	tcp() for 1 .. 3;
	is_deeply([lines(3, qr/^a line$/)], ['a line', 'a line', 'a line'], 'equal lines are not folded, and a format is a format in a log of JSON, too');
};

subtest 'what SIP asks' => sub {
	log_as('');
	my $sock = dial($port{sip});
	say($sock, "INVITE sip:bob\@example.net SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
		. "From: <sip:alice\@example.net>;tag=1\r\nTo: <sip:bob\@example.net>\r\nCall-ID: 1\@here\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	like(hear($sock, qr/\r\n\r\n/), qr/^SIP\/2\.0 486 /, 'an answer');
	close $sock;
	quiet();
	like((lines(1, qr/service=sip/))[0], qr/ method=INVITE host=example\.net status=486 ms=\d+ /, 'method, host and answer');
	my ($ended) = @{ $sy->api('GET', '/v1/connections/ended?service=sip')->{connections} };
	is("$ended->{asked} $ended->{status}", 'INVITE example.net 486', 'in the recorder, too');
};

subtest 'JSON' => sub {
	log_as("exchange-log { exchanges on; }\n", ' format=json');
	get('/200');
	my ($line) = lines(1, qr/"event":"exchange"/);
	my $json = JSON::PP::decode_json($line);
	is("$json->{method} $json->{host} $json->{path} $json->{status}", 'GET web.example.net /200 200', 'the same fields');
};

subtest 'which' => sub {
	log_as("exchange-log { exchanges on; keep none; }\n");
	get('/200', '/404', '/503');
	is_deeply([map { / path=(\S+) status=(\d+) .*end=(\S+)/ } lines(1, qr/ exchange /)], ['/503', 503, 'done'], 'none but errors: an answer of 5xx is one');
	my $sock = dial($port{gone});
	hear_all($sock);
	quiet();
	like((lines(1, qr/service=gone/))[0], qr/end=connect-refused$/, 'so is a server that refuses');
	log_as("exchange-log { exchanges on; keep none; rule none { services tcp; } rule all { slow 300ms; } rule all { status 400-499; ends done; } rule 1/2 { clients 192.0.2.0/24; } }\n");
	tcp();
	get('/200', '/200/400', '/404', '/200');
	lines(2, qr/ exchange /);
	is_deeply([map { / path=(\S+) / } grep { / exchange / } split /\n/, slurp()], ['/200/400', '/404'], 'the first rule that fits decides');
	log_as("exchange-log { keep 1/4; }\n");
	tcp() for 1 .. 200;
	my @kept = grep { /service=tcp/ } lines(1, qr/ connection /);
	ok(@kept >= 20 && @kept <= 90, 'one in four of 200: ' . @kept);
	is(scalar(grep { / sample=4 / } @kept), scalar @kept, 'each says for how many it stands');
	log_as("log-connections off;\nexchange-log { exchanges on; }\n");
	get('/503');
	is(scalar(grep { / exchange | connection / } split /\n/, slurp()), 0, 'log-connections off: none at all');
};

subtest 'what is wrong' => sub {
	for (["format '%clinet'", qr/exchange-log|there is no field %clinet; did you mean %client\?/],
			["format '%{ms'", qr/%\{ without a field and \}/], ["format '100 %'", qr/a percent sign that is meant as such is written %%/],
			["keep 1/0", qr/keep 1\/0: all, none, or 1\/N is expected/], ["keep some", qr/keep some: all, none, or 1\/N/],
			["rule all { ends client-don; }", qr/ends client-don: nothing ends for that reason; did you mean client-done\?/],
			["rule { slow 1s; }", qr/keep/], ["rule all { slwo 1s; }", qr/unknown directive slwo .*did you mean slow/]) {
		my ($line, $want) = @$_;
		my ($ok, $text) = $sy->reload("workers 1;\n${services}exchange-log { $line; }\n");
		ok(!$ok, "$line is refused");
		like($text, $want, 'in words');
	}
};
is($sy->stop, 0, 'it ends well');
done_testing;
