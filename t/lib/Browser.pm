# A headless Chromium, driven by WebDriver over HTTP, for tests of the web page.
#
#	my $browser = Browser->start or plan skip_all => 'chromium and chromedriver are not installed';
#	$browser->go("http://127.0.0.1:$port/");
#	$browser->script('return document.title');
#	$browser->wait_script('the list', 'return document.querySelectorAll("tr").length > 3');
#	$browser->screenshot("$dir/page.png", 1280, 900);
#	$browser->problems;         # console messages of the error kind
#	$browser->requests;         # addresses that the page asked for
package Browser;
use strict;
use warnings;
use Carp qw(croak);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 ();
use Steelyard;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->allow_nonref;

sub _find {
	for my $name (@_) {
		for my $dir (split(/:/, $ENV{PATH} || ''), '/usr/bin') {
			return "$dir/$name" if -x "$dir/$name";
		}
	}
	return undef;
}

# options: dark => 1, width, height. undef when there is no browser here.
sub start {
	my ($class, %opt) = @_;
	my $driver = _find('chromedriver') or return undef;
	my $chromium = _find('chromium', 'chromium-browser') or return undef;
	my $dir = tempdir('steelyard-browser-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $self = bless { dir => $dir, owner => $$ }, $class;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		Steelyard::die_with_parent();
		setpgrp; # the browsers that it starts end with it
		$ENV{HOME} = $ENV{TMPDIR} = $dir;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/driver.log";
		open STDERR, '>&', \*STDOUT;
		exec $driver, '--port=0' or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	my $said = '';
	$self->{port} = eval { Steelyard::wait_for('chromedriver to listen', sub {
		open my $in, '<', "$dir/driver.log" or return;
		local $/;
		$said = <$in> // '';
		$said =~ /started successfully on port (\d+)/ ? $1 : undef;
	}) } or croak "chromedriver does not listen; it says: $said";
	my @args = (qw(--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage
		--disable-background-networking --disable-component-update --disable-sync --disable-extensions
		--disable-default-apps --hide-scrollbars --no-proxy-server),
		# A name that leaves this machine is not even looked up.
		'--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost',
		"--user-data-dir=$dir/profile", sprintf('--window-size=%d,%d', $opt{width} || 1280, $opt{height} || 900));
	my $made = $self->_ask('POST', '/session', { capabilities => { alwaysMatch => {
		browserName => 'chrome', 'goog:chromeOptions' => { binary => $chromium, args => \@args },
		'goog:loggingPrefs' => { browser => 'ALL', performance => 'ALL' },
	} } });
	$self->{session} = "/session/$made->{sessionId}";
	return $self;
}

sub _ask {
	my ($self, $method, $path, $body) = @_;
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 30)
		or croak "chromedriver: $@";
	my $content = $method eq 'POST' ? $json->encode($body || {}) : '';
	print $sock "$method $path HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
		"Content-Type: application/json\r\nContent-Length: ", length $content, "\r\n\r\n", $content;
	local $/ = "\r\n";
	my $len;
	while (defined(my $line = <$sock>)) {
		last if $line eq "\r\n";
		$len = $1 if $line =~ /^content-length:\s*(\d+)/i;
	}
	croak "chromedriver did not answer to $method $path" unless defined $len;
	my $got = '';
	while (length $got < $len) {
		read($sock, $got, $len - length $got, length $got) or last;
	}
	my $value = $json->decode($got)->{value};
	croak "$method $path: $value->{error}: $value->{message}" if ref $value eq 'HASH' && $value->{error};
	return $value;
}

sub go     { $_[0]->_ask('POST', "$_[0]{session}/url", { url => $_[1] }) }
sub script { my ($self, $code, @args) = @_; $self->_ask('POST', "$self->{session}/execute/sync", { script => $code, args => \@args }) }
sub cdp    { my ($self, $cmd, $params) = @_; $self->_ask('POST', "$self->{session}/goog/cdp/execute", { cmd => $cmd, params => $params || {} }) }

sub wait_script {
	my ($self, $what, $code, @args) = @_;
	return Steelyard::wait_for($what, sub { $self->script($code, @args) }, 30);
}

# Asks for something of what the selector finds. The page may draw it anew between the two questions, once
# or twice: then it is looked for again, as a person would.
sub _of_found {
	my ($self, $selector, @asks) = @_;
	for my $more (reverse 0 .. 4) {
		my $found = $self->_ask('POST', "$self->{session}/element", { using => 'css selector', value => $selector });
		my ($id) = values %$found;
		return if eval { $self->_ask('POST', "$self->{session}/element/$id/$_->[0]", $_->[1]) for @asks; 1 };
		die $@ if !$more || $@ !~ /stale element reference/;
	}
}

# A real click in the middle of it.
sub click {
	my ($self, $selector) = @_;
	$self->_of_found($selector, [click => {}]);
}

sub type {
	my ($self, $selector, $text) = @_;
	$self->_of_found($selector, [clear => {}], [value => { text => $text }]);
}

sub dark {
	my ($self, $on) = @_;
	$self->cdp('Emulation.setEmulatedMedia', { features => [
		{ name => 'prefers-color-scheme', value => $on ? 'dark' : 'light' } ] });
}

sub size {
	my ($self, $width, $height, $mobile) = @_;
	$self->cdp('Emulation.setDeviceMetricsOverride', { width => $width, height => $height,
		deviceScaleFactor => $mobile ? 2 : 1, mobile => $mobile ? JSON::PP::true : JSON::PP::false });
}

sub screenshot {
	my ($self, $file) = @_;
	my $png = MIME::Base64::decode_base64($self->_ask('GET', "$self->{session}/screenshot"));
	open my $out, '>:raw', $file or croak "$file: $!";
	print $out $png;
	close $out or croak "$file: $!";
	return length $png;
}

sub problems {
	my $self = shift;
	my $list = $self->_ask('POST', "$self->{session}/se/log", { type => 'browser' });
	return map { "$_->{level}: $_->{message}" } grep { $_->{level} =~ /SEVERE|ERROR|WARNING/ } @$list;
}

# Every address that any page of the session asked for since the last call.
sub requests {
	my $self = shift;
	my $list = $self->_ask('POST', "$self->{session}/se/log", { type => 'performance' });
	my @urls;
	for my $entry (@$list) {
		my $message = $json->decode(utf8_bytes($entry->{message}))->{message};
		push @urls, $message->{params}{request}{url} if $message->{method} eq 'Network.requestWillBeSent';
	}
	return @urls;
}

sub utf8_bytes { my $text = shift; utf8::encode($text); return $text }

sub stop {
	my $self = shift;
	return unless $self->{pid};
	eval { $self->_ask('DELETE', $self->{session}) } if $self->{session};
	kill 'TERM', -$self->{pid};
	eval { Steelyard::wait_for('chromedriver to end', sub { waitpid($self->{pid}, POSIX::WNOHANG()) }, 10) }
		or do { kill 'KILL', -$self->{pid}; waitpid $self->{pid}, 0 };
	delete $self->{pid};
}

sub DESTROY {
	my $self = shift;
	return unless defined $self->{owner} && $self->{owner} == $$;
	local ($?, $@, $!);
	$self->stop;
}

1;
