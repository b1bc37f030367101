# What is measured: for each workload the traffic, the columns of its table, and the ratio of the first
# goal column that the project set itself (at most, aim). A proxy that needs no configuration of its own
# for a purpose uses the one in "or" for it.
package Bench::Workloads;

use strict;
use warnings;

# Columns: [key, heading, better (low, high or '' for "no judgement")].
my @RATE = (
	['rate', 'rate /s', 'high'], ['cpu_us', 'CPU us', 'low'], ['machine_us', 'machine us', 'low'],
	['p50_us', 'p50 us', 'low'], ['p99_us', 'p99 us', 'low'], ['core', 'core %', ''],
);
my @HOLD = (
	['bytes_each', 'bytes each', 'low'], ['machine_each', 'machine B', ''],
	['empty_mb', 'empty MB', 'low'], ['full_mb', 'full MB', 'low'], ['p99_us', 'open p99', ''],
);
my @RELOAD = (
	['reload_ms', 'reload ms', 'low'], ['reload_max_ms', 'longest ms', 'low'],
	['failed', 'failed', 'low'], ['before_mb', 'before MB', 'low'], ['after_mb', 'after MB', 'low'],
	['processes', 'processes', 'low'], ['p99_us', 'p99 us', 'low'],
);
my @HEALTH = (
	['rate', 'checks /s', ''], ['cpu_us', 'CPU us', 'low'], ['machine_us', 'machine us', 'low'],
	['core', 'core %', ''], ['full_mb', 'memory MB', 'low'],
);

# The same load for several configurations.
my @SHORT = ('--connections', 32, '--exchanges', 1, '--sources', 8);
my @BULK = ('--connections', 8, '--reply', 16 << 20);

my @all = (
	{
		name => 'tcp-short', kind => 'rate', conf => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, a connection for each exchange of 64 bytes, 32 at a time',
		unit => 'connection',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us', goal => [0.95, 0.80],
		load => \@SHORT,
	},
	{
		name => 'tcp-short-part', kind => 'rate', conf => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, the same with pauses: at about a third of the rate', unit => 'connection',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us',
		load => [@SHORT, '--pace', 0.008],
	},
	{
		name => 'tcp-half', kind => 'rate', conf => 'half', or => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, as tcp-short, each direction kept until it has its own end', unit => 'connection',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us', goal => [0.95, 0.80],
		load => \@SHORT,
	},
	{
		name => 'tcp-small', kind => 'rate', conf => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, small requests on 64 long connections', unit => 'request',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us', goal => [0.90, 0.75],
		load => ['--connections', 64],
	},
	{
		name => 'tcp-small-part', kind => 'rate', conf => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, the same with pauses: at about a third of the rate', unit => 'request',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us',
		load => ['--connections', 64, '--pace', 0.003],
	},
	{
		name => 'tcp-latency', kind => 'rate', conf => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, one connection, one small request at a time on an idle machine',
		unit => 'request',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'p50_us',
		load => ['--connections', 1],
	},
	{
		name => 'tcp-bulk', kind => 'rate', conf => 'bulk', or => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, replies of 16 MiB on 8 connections', unit => '16 MiB',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us', goal => [1.0, 0.6],
		load => \@BULK,
	},
	{
		name => 'tcp-copy', kind => 'rate', conf => 'copy', or => 'tcp', to => '127.0.0.1:5000',
		title => 'TCP, replies of 16 MiB on 8 connections, copied in user space by all', unit => '16 MiB',
		direct => '127.0.0.11:6000', columns => \@RATE, judged => 'cpu_us', goal => [1.0, 0.6],
		load => \@BULK,
	},
	{
		name => 'udp', kind => 'rate', conf => 'udp', to => '127.0.0.1:5002',
		title => 'UDP, 200 flows, 172 bytes there and back, one under way in each',
		unit => 'datagram',
		direct => '127.0.0.11:6002', columns => \@RATE, judged => 'cpu_us', goal => [0.7, 0.5],
		load => ['--udp', '--connections', 200, '--reply', 172, '--patience', 1], units_each => 2,
		probe => ['--udp', '--reply', 172],
	},
	(map { {
		name => "tls-$_->[0]", kind => 'rate', conf => 'tls', to => '127.0.0.1:5003',
		certificate => $_->[0],
		title => "TLS 1.3, a full handshake ($_->[1]) and one exchange of 64 bytes",
		unit => 'handshake', direct => '127.0.0.11:6003', columns => \@RATE, judged => 'cpu_us',
		goal => [0.95, 0.85],
		load => ['--tls', '--connections', 16, '--exchanges', 1, '--sources', 8], probe => ['--tls'],
	} } (['rsa', 'RSA 2048'], ['ecdsa', 'ECDSA P-256'])),
	{
		name => 'tls-resumed', kind => 'rate', conf => 'tls', to => '127.0.0.1:5003',
		certificate => 'rsa', title => 'TLS 1.3, a resumed handshake and one exchange of 64 bytes',
		unit => 'handshake', direct => '127.0.0.11:6003', columns => \@RATE, judged => 'cpu_us',
		load => ['--resume', '--connections', 16, '--exchanges', 1, '--sources', 8],
		probe => ['--tls'],
	},
	{
		name => 'https', kind => 'rate', conf => 'https', to => '127.0.0.1:5004',
		certificate => 'rsa',
		title => 'HTTPS, requests on 64 kept connections, replies of 1 KiB, a cookie inserted in each',
		unit => 'request', direct => '127.0.0.11:6004', columns => \@RATE, judged => 'cpu_us',
		goal => [0.85, 0.65],
		load => ['--tls', '--http', '--connections', 64], through => ['--cookie', 'BENCH'],
		probe => ['--tls', '--http'],
	},
	{
		name => 'mem-tcp', kind => 'hold', conf => 'tcp', to => '127.0.0.1:5000', connections => 6000,
		title => 'memory of an idle TCP connection, 6,000 of them', unit => 'connection',
		direct => '127.0.0.11:6000', columns => \@HOLD, judged => 'bytes_each', goal => [0.30, 0.18],
		load => ['--sources', 8],
	},
	{
		name => 'mem-tls', kind => 'hold', conf => 'tls', to => '127.0.0.1:5003', connections => 2000,
		certificate => 'rsa', title => 'memory of an idle TLS connection, 2,000 of them',
		unit => 'connection', direct => '127.0.0.11:6003', columns => \@HOLD, judged => 'bytes_each',
		goal => [0.70, 0.50], load => ['--tls', '--sources', 8], probe => ['--tls'],
	},
	{
		name => 'reload', kind => 'reload', conf => 'reload', to => '127.0.0.1:5000',
		title => '10 reloads; 64 connections, and 8 more before each, stay; 500 a second come and go',
		unit => 'reload',
		columns => \@RELOAD, judged => 'reload_ms',
	},
	{
		name => 'health', kind => 'health', conf => 'health', to => '127.3.0.1:5000',
		title => 'health checks: 10,000 servers, each connected to every 5 s', unit => 'check',
		columns => \@HEALTH, judged => 'cpu_us', expected_rate => 2000,
	},
);

sub all {
	return @all;
}

sub find {
	my ($name) = @_;
	my ($found) = grep { $_->{name} eq $name } @all;
	return $found;
}

1;
