# SIP for tests: messages, scripted clients and servers, Kamailio and SIPp.
package Sip;
use strict;
use warnings;
use Carp qw(croak);
use Fcntl qw(F_SETFD);
use Exporter qw(import);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use POSIX qw(WNOHANG);
use Socket qw(SOCK_DGRAM);
use Steelyard;
use Way qw(hear);

our @EXPORT_OK = qw(usual request response field messages registrar uas heard wait_heard lab kamailio sipp sipp_server);

my $turn = 0;

# request('REGISTER', user => 'alice', cseq => 2, id => 'call-7', to => ';tag=x', more => "Expires: 60\r\n", body => '')
sub request {
	my ($method, %is) = @_;
	my ($user, $cseq, $id) = ($is{user} // 'alice', $is{cseq} // 1, $is{id} // "call-$$-" . ++$turn);
	my $branch = $is{branch} // "z9hG4bK-$id-$method-$cseq";
	my $body = $is{body} // '';
	return "$method sip:$user\@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=$branch\r\n"
		. "Max-Forwards: 70\r\nFrom: <sip:$user\@example.com>;tag=f$id\r\nTo: <sip:$user\@example.com>" . ($is{to} // '') . "\r\n"
		. "Call-ID: $id\r\nCSeq: $cseq $method\r\n" . ($is{more} // '')
		. 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

sub field {
	my ($message, $name) = @_;
	return $message =~ /^\Q$name\E\s*:\s*(.*?)\r$/im ? $1 : '';
}

# The answer to a request: response($request, 200, 'OK', "Contact: ...\r\n")
sub response {
	my ($request, $status, $phrase, $more) = @_;
	my @via = $request =~ /^(Via:.*\r\n)/mig;
	my $to = field($request, 'To');
	$to .= ';tag=server' unless $to =~ /;tag=/;
	return "SIP/2.0 $status " . ($phrase // 'X') . "\r\n" . join('', @via) . 'From: ' . field($request, 'From')
		. "\r\nTo: $to\r\nCall-ID: " . field($request, 'Call-ID') . "\r\nCSeq: " . field($request, 'CSeq')
		. "\r\n" . ($more // '') . "Content-Length: 0\r\n\r\n";
}

# What a server answers that takes what it is asked: `ring` rings first. It says who it is, and what Record-Route was.
sub usual {
	my $name = shift;
	return sub {
		my $message = shift;
		return '' if $message =~ /^(?:ACK|SIP)/;
		my $record = join '', $message =~ /^(Record-Route:.*\r\n)/mig;
		return response($message, 180, 'Ringing', $record) if $message =~ /ring\@/ && $message =~ /^INVITE/;
		return response($message, 200, 'OK', "Server: $name\r\n${record}Contact: <sip:b\@192.0.2.9>\r\n");
	};
}

# Takes the whole messages (and pings) out of a buffer.
sub messages {
	my ($buffer) = @_;
	my @got;
	while (1) {
		if ($$buffer =~ s/^\r\n\r\n//) { push @got, "\r\n\r\n"; next }
		last unless $$buffer =~ /^(.*?\r\n\r\n)/s;
		my $head = $1;
		my $len = length($head) + (field($head, 'Content-Length') || 0);
		last if length($$buffer) < $len;
		push @got, substr $$buffer, 0, $len, '';
	}
	return @got;
}

# A server that answers each request by `answer` (code: request -> bytes); 200 when not given. It says
# who it is in Server.
sub registrar {
	my ($name, %opt) = @_;
	my $answer = $opt{answer} || sub {
		my $request = shift;
		return response($request, 200, 'OK', "Server: $name\r\n" . ($request =~ /^REGISTER/
			? 'Contact: <sip:a@192.0.2.1>;expires=600' . "\r\n" : ''));
	};
	return Steelyard->server($name, $opt{port} ? (port => $opt{port}) : (), on => sub {
		my $sock = shift;
		return if fork;
		my $buffer = '';
		while (sysread $sock, $buffer, 65536, length $buffer) {
			for my $message (messages(\$buffer)) {
				my $said = $message eq "\r\n\r\n" ? "\r\n"
					: $message =~ /^(?:ACK|SIP)/ ? '' : $answer->($message, $sock);
				syswrite $sock, $said if length $said;
			}
		}
		POSIX::_exit(0);
	});
}

# A server that answers by $answer->(request, socket) and writes all that it hears to a file.
my $heard = tempdir('sip-heard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
sub uas {
	my ($name, $answer) = @_;
	return Steelyard->server($name, each => sub {
		my $sock = shift;
		my $buffer = '';
		while (sysread $sock, $buffer, 65536, length $buffer) {
			for my $message (messages(\$buffer)) {
				open my $out, '>>', "$heard/$name" or die $!;
				syswrite $out, "$message\0";
				close $out;
				my $said = $answer->($message, $sock);
				syswrite $sock, $said if length $said;
			}
		}
	});
}
# What it has heard, of a method and of a call, both if given.
sub heard {
	my ($name, $method, $id) = @_;
	open my $in, '<', "$heard/$name" or return ();
	local $/ = "\0";
	return grep { (!$method || /^$method /) && (!$id || field($_, 'Call-ID') eq $id) } map { chomp; $_ } <$in>;
}
sub wait_heard {
	my ($name, $method, $id) = @_;
	return Steelyard::wait_for("$method at $name", sub { (heard($name, $method, $id))[0] });
}

# The lab's registrars, one for each name: (program, ports); $program->ask('drain', 'fe1').
sub lab {
	my (@names) = @_;
	my $dir = tempdir('lab-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	pipe my $ready, my $tell or die $!;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		Steelyard::die_with_parent();
		close $ready;
		fcntl $tell, F_SETFD, 0;
		exec lab_server(), '--ready-fd', fileno $tell, '--control', "$dir/control", '--with-parent',
			map { ($_, '127.0.0.1', '0/tcp:sip') } @names or POSIX::_exit(127);
	}
	close $tell;
	my $where = <$ready> // croak 'the lab did not start';
	return (bless({ pid => $pid, owner => $$, control => "$dir/control" }, 'Sip::Run'), $where =~ /127\.0\.0\.1:(\d+)/g);
}
sub lab_server { return Steelyard::build_dir() . '/contrib/lab/lab-server' }

# Runs a program with its output in a file; ends it at the end of the test.
sub run {
	my ($log, @cmd) = @_;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		Steelyard::die_with_parent();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		exec @cmd or POSIX::_exit(127);
	}
	return bless { pid => $pid, log => $log, owner => $$ }, 'Sip::Run';
}

# Kamailio as registrar and redirect server: REGISTER is stored (with credentials for users that
# begin with "secret"), INVITE to "moved" gets 302 (with credentials from such users), OPTIONS to itself
# 200. Ports: tcp, udp, tls. It can be given a host, the ports on it, and a name that it tells in Server.
# `proxy`: it sends calls on to who is registered, by the Path of the registration, and stays in their way; `callee`
# is registered at that UDP port then.
sub kamailio {
	my (%opt) = @_;
	my $host = $opt{host} // '127.0.0.1';
	my $dir = tempdir('kamailio-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my %port = $opt{port} ? %{ $opt{port} } : (tcp => Steelyard::free_port('tcp'), udp => Steelyard::free_port('udp'), tls => Steelyard::free_port('tcp'));
	my $tls = $opt{certs} ? <<"TLS" : '';
loadmodule "tls.so"
modparam("tls", "private_key", "$opt{certs}/server.key")
modparam("tls", "certificate", "$opt{certs}/server.crt")
modparam("tls", "tls_method", "TLSv1.2+")
TLS
	my ($modules, $calls) = $opt{proxy} ? (<<'MODULES', <<'CALLS') : ('', '');
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "siputils.so"
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 0)
MODULES
	if (is_method("CANCEL")) {
		if (t_check_trans()) t_relay();
		exit;
	}
	if (has_totag()) {
		if (loose_route()) { t_relay(); exit; }
		if (is_method("ACK") && t_check_trans()) t_relay();
		if (!is_method("ACK")) sl_send_reply("404", "Not Here");
		exit;
	}
	if (is_method("INVITE|MESSAGE")) {
		record_route();
		if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
		if (!t_relay()) sl_reply_error();
		exit;
	}
CALLS
	open my $out, '>', "$dir/kamailio.cfg" or die $!;
	print $out <<"CFG";
#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=1
tcp_children=2
tcp_max_connections=10000
tcp_connection_lifetime=3605
tcp_accept_no_cl=no
auto_aliases=no
alias="example.com"
@{[ $opt{name} ? qq{server_header="Server: $opt{name}"} : '' ]}
@{[ $opt{certs} ? 'enable_tls=yes' : '' ]}
listen=tcp:$host:$port{tcp}
listen=udp:$host:$port{udp}
@{[ $opt{certs} ? "listen=tls:$host:$port{tls}" : '' ]}
mpath="@{[ (glob '/usr/lib/*/kamailio/modules')[0] ]}/"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "textops.so"
loadmodule "kex.so"
$tls$modules
request_route {
	if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
	if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
	if (is_method("REGISTER")) {
		if (\$tU =~ "^secret" && !pv_www_authenticate("example.com", "password", "0")) {
			www_challenge("example.com", "0");
			exit;
		}
		save("location");
		exit;
	}
$calls	if (is_method("INVITE") && \$fU =~ "^secret" && !pv_proxy_authenticate("example.com", "password", "0")) {
		proxy_challenge("example.com", "0");
		exit;
	}
	if (\$rU == "moved") {
		append_to_reply("Contact: <sip:moved\@192.0.2.99>\\r\\n");
		sl_send_reply("302", "Moved Temporarily");
		exit;
	}
	if (is_method("ACK")) exit;
	sl_send_reply("404", "Not Found");
}
CFG
	close $out;
	my $run = run("$dir/log", 'kamailio', '-DD', '-E', '-m', '64', '-M', '8', '-w', $dir, '-Y', $dir,
		'-P', "$dir/pid", '-f', "$dir/kamailio.cfg");
	$run->{group} = 1;
	$run->{pid_file} = "$dir/pid";
	Steelyard::wait_for('Kamailio', sub {
		$run->alive or croak 'Kamailio ended: ' . $run->text;
		IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port{tcp});
	});
	register_callee($host, $port{udp}, $opt{callee}) if $opt{callee};
	return ($run, \%port);
}

sub register_callee {
	my ($host, $port, $callee) = @_;
	my $sock = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Type => SOCK_DGRAM) or croak "no socket: $@";
	my $via = 'SIP/2.0/UDP ' . $sock->sockhost . ':' . $sock->sockport;
	my $register = request('REGISTER', user => 'callee', more => "Contact: <sip:callee\@$host:$callee>\r\n") =~ s{SIP/2\.0/TCP [^;]+}{$via}r;
	Steelyard::wait_for('a registration', sub {
		$sock->send($register);
		return 0 unless IO::Select->new($sock)->can_read(2) && defined $sock->recv(my $got, 65536);
		return $got =~ m{^SIP/2\.0 200 };
	});
}

# SIPp as a client: sipp(['-sn', 'uac', ...]) runs it to its end and returns a hash: ok, and what it
# counted. `scenario` is the XML between <scenario> and </scenario>.
sub sipp_command {
	my ($args, %opt) = @_;
	my $host = $opt{host} // '127.0.0.1';
	my $dir = tempdir('sipp-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my @scenario = ();
	if ($opt{scenario}) {
		open my $out, '>', "$dir/scenario.xml" or die $!;
		print $out qq{<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="test">\n$opt{scenario}</scenario>\n};
		close $out;
		@scenario = ('-sf', "$dir/scenario.xml");
	}
	# Left to themselves, two that begin at once may want the same one.
	my ($transport) = join(' ', @$args) =~ /-t (\w)/;
	my @port = grep({ $_ eq '-p' } @$args) ? () : ('-p', Steelyard::free_port(($transport // 'u') eq 'u' ? 'udp' : 'tcp', $host));
	return ($dir, 'sh', '-c', 'cd "$0" && exec sipp "$@"', $dir, @scenario, @$args, @port, '-nostdin', '-i', $host,
		'-au', 'secret', '-ap', 'password', grep({ $_ eq '-m' } @$args) ? ('-recv_timeout', 30000) : (),
		'-trace_stat', '-stf', 'stat.csv', '-fd', '1', '-trace_err', '-error_file', 'errors');
}

sub sipp_start {
	my ($args, %opt) = @_;
	my ($dir, @cmd) = sipp_command($args, %opt);
	my $run = run("$dir/log", @cmd);
	$run->{dir} = $dir;
	return $run;
}

sub sipp { return sipp_start(@_)->finish }

# SIPp's own server ends a call after some seconds, and with it the connection that the call came by, which
# others may use by then. This one keeps both for `wait`, and records routes. ring: how long it does. retrans:
# after how long an answer that has no ACK is said again.
sub callee {
	my (%opt) = @_;
	my $retrans = $opt{retrans} // 500;
	my $wait = $opt{wait} // 120000;
	my $ring = $opt{ring} ? qq{  <pause milliseconds="$opt{ring}"/>\n} : '';
	return <<"XML";
  <recv request="INVITE" rrs="true" crlf="true"></recv>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]s[call_number]
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

  ]]></send>
$ring  <send retrans="$retrans"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]s[call_number]
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

  ]]></send>
  <recv request="ACK" crlf="true"></recv>
  <recv request="BYE"></recv>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

  ]]></send>
  <timewait milliseconds="$wait"/>
XML
}

# A client whose later requests go the way that the answer has recorded. It says nothing again before `retrans`:
# with a long time a datagram that was lost shows, and not a slow machine.
sub calling {
	my (%opt) = @_;
	my $retrans = $opt{retrans} // 500;
	my $head = sub {
		my ($method, $uri, $cseq, $to) = @_;
		return <<"XML";
$method $uri SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:caller\@example.com>;tag=[pid]c[call_number]
To: <sip:callee\@example.com>$to
Call-ID: [call_id]
CSeq: $cseq $method
Contact: <sip:caller\@[local_ip]:[local_port];transport=[transport]>
XML
	};
	return qq{  <send retrans="$retrans"><![CDATA[\n} . $head->('INVITE', 'sip:callee@[remote_ip]:[remote_port]', 1, '') . <<'XML'
Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"></recv>
  <recv response="180" optional="true"></recv>
  <recv response="200" rrs="true"></recv>
  <send><![CDATA[
XML
		. $head->('ACK', '[next_url]', 1, '[peer_tag_param]') . <<'XML'
[routes]
Content-Length: 0

  ]]></send>
  <pause/>
XML
		. qq{  <send retrans="$retrans"><![CDATA[\n} . $head->('BYE', '[next_url]', 2, '[peer_tag_param]') . <<'XML';
[routes]
Content-Length: 0

  ]]></send>
  <recv response="200"></recv>
XML
}

# A SIPp server (UAS) on a port of 127.0.0.1, or of `host`; transport t1, u1.
sub sipp_server {
	my ($transport, %opt) = @_;
	my $host = $opt{host} // '127.0.0.1';
	my $port = Steelyard::free_port($transport =~ /^u/ ? 'udp' : 'tcp', $host);
	my $run = sipp_start([ $opt{scenario} ? () : ('-sn', 'uas'), '-t', $transport, '-p', $port ], %opt);
	$run->{port} = $port;
	Steelyard::wait_for('SIPp', sub {
		$run->alive or croak 'SIPp ended: ' . $run->text;
		return IO::Socket::IP->new(PeerHost => $host, PeerPort => $port) if $transport !~ /^u/;
		open my $in, '<', $host =~ /:/ ? '/proc/net/udp6' : '/proc/net/udp';
		my $hex = sprintf ':%04X ', $port;
		grep { index($_, $hex) >= 0 } <$in>;
	});
	return $run;
}

package Sip::Run;

sub alive {
	my $self = shift;
	return 0 if defined $self->{status};
	return 1 unless waitpid($self->{pid}, POSIX::WNOHANG) == $self->{pid};
	$self->{status} = $?;
	return 0;
}

sub text {
	my $self = shift;
	my $text = '';
	for my $file ($self->{log}, $self->{dir} ? "$self->{dir}/errors" : ()) {
		open my $in, '<', $file or next;
		local $/;
		$text .= <$in> // '';
	}
	# The screens are long, what was said of errors stands before them.
	return length $text > 8000 ? substr($text, 0, 4000) . "\n...\n" . substr($text, -4000) : $text;
}

# A command for the lab.
sub ask {
	my ($self, @words) = @_;
	open my $answer, '-|', Sip::lab_server(), '--ask', $self->{control}, @words or die $!;
	local $/;
	<$answer>; # it is no line of the test
	return close $answer;
}

# Waits for its end: { ok, status, text }, and of its calls: { calls, good, failed, unexpected }
sub finish {
	my $self = shift;
	Steelyard::wait_for('SIPp to end', sub { !$self->alive }, 2 * $Steelyard::LIMIT);
	my %got = (status => $self->{status} >> 8, ok => $self->{status} == 0, text => $self->text);
	if (open my $in, '<', "$self->{dir}/stat.csv") {
		my @names = split /;/, scalar <$in>;
		my @lines = <$in>;
		my %is;
		@is{@names} = split /;/, $lines[-1] // '';
		@got{qw(calls failed good unexpected)} = @is{'TotalCallCreated', 'FailedCall(C)', 'SuccessfulCall(C)',
			'FailedUnexpectedMessage(C)'};
	}
	return \%got;
}

sub end {
	my $self = shift;
	return unless $self->alive;
	kill 'TERM', $self->{pid};
	eval { Steelyard::wait_for('a program to end', sub { !$self->alive }, 10) } or do {
		kill 'KILL', $self->{pid};
		waitpid $self->{pid}, 0;
		$self->{status} = $?;
	};
}

sub DESTROY {
	my $self = shift;
	return unless $self->{owner} == $$;
	local ($?, $@, $!);
	$self->end;
}

1;
