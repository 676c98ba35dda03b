package console

// The table is from Unicode's UnicodeData.txt, field 5, up to U+2150: letters that have a decomposition.

// composed maps a mark to pairs of letters: each letter with the mark, then the letter without it.
var composed = map[rune]string{
	0x0300: "ÀAÈEÌIÒOÙUàaèeìiòoùuǛÜǜüǸNǹnЀЕЍИѐеѝиḔĒḕēṐŌṑōẀWẁwẦÂầâẰĂằăỀÊềêỒÔồôỜƠờơỪƯừưỲYỳyἂἀἃἁἊἈἋἉ" +
		"ἒἐἓἑἚἘἛἙἢἠἣἡἪἨἫἩἲἰἳἱἺἸἻἹὂὀὃὁὊὈὋὉὒὐὓὑὛὙὢὠὣὡὪὨὫὩὰαὲεὴηὶιὸοὺυὼωᾺΑῈΕῊΗῒϊῚΙῢϋῪΥῸΟῺΩ",
	0x0301: "ÁAÉEÍIÓOÚUÝYáaéeíióoúuýyĆCćcĹLĺlŃNńnŔRŕrŚSśsŹZźzǗÜǘüǴGǵgǺÅǻåǼÆǽæǾØǿøΆΑΈΕΉΗΊΙΌΟΎΥΏΩΐϊ" +
		"άαέεήηίιΰϋόούυώωϓϒЃГЌКѓгќкḈÇḉçḖĒḗēḮÏḯïḰKḱkḾMḿmṌÕṍõṒŌṓōṔPṕpṸŨṹũẂWẃwẤÂấâẮĂắăẾÊếêỐÔốôỚƠ" +
		"ớơỨƯứưἄἀἅἁἌἈἍἉἔἐἕἑἜἘἝἙἤἠἥἡἬἨἭἩἴἰἵἱἼἸἽἹὄὀὅὁὌὈὍὉὔὐὕὑὝὙὤὠὥὡὬὨὭὩ",
	0x0302: "ÂAÊEÎIÔOÛUâaêeîiôoûuĈCĉcĜGĝgĤHĥhĴJĵjŜSŝsŴWŵwŶYŷyẐZẑzẬẠậạỆẸệẹỘỌộọ",
	0x0303: "ÃAÑNÕOãañnõoĨIĩiŨUũuṼVṽvẪÂẫâẴĂẵăẼEẽeỄÊễêỖÔỗôỠƠỡơỮƯữưỸYỹy",
	0x0304: "ĀAāaĒEēeĪIīiŌOōoŪUūuǕÜǖüǞÄǟäǠȦǡȧǢÆǣæǬǪǭǫȪÖȫöȬÕȭõȰȮȱȯȲYȳyӢИӣиӮУӯуḠGḡgḸḶḹḷṜṚṝṛᾱαᾹΑῑιῙΙ" +
		"ῡυῩΥ",
	0x0306: "ĂAăaĔEĕeĞGğgĬIĭiŎOŏoŬUŭuЎУЙИйиўуӁЖӂжӐАӑаӖЕӗеḜȨḝȩẶẠặạᾰαᾸΑῐιῘΙῠυῨΥ",
	0x0307: "ĊCċcĖEėeĠGġgİIŻZżzȦAȧaȮOȯoḂBḃbḊDḋdḞFḟfḢHḣhṀMṁmṄNṅnṖPṗpṘRṙrṠSṡsṤŚṥśṦŠṧšṨṢṩṣṪTṫtẆWẇwẊX" +
		"ẋxẎYẏyẛſ",
	0x0308: "ÄAËEÏIÖOÜUäaëeïiöoüuÿyŸYΪΙΫΥϊιϋυϔϒЁЕЇІёеїіӒАӓаӚӘӛәӜЖӝжӞЗӟзӤИӥиӦОӧоӪӨӫөӬЭӭэӰУӱуӴЧӵчӸЫ" +
		"ӹыḦHḧhṎÕṏõṺŪṻūẄWẅwẌXẍxẗt",
	0x0309: "ẢAảaẨÂẩâẲĂẳăẺEẻeỂÊểêỈIỉiỎOỏoỔÔổôỞƠởơỦUủuỬƯửưỶYỷy",
	0x030a: "ÅAåaŮUůuẘwẙy",
	0x030b: "ŐOőoŰUűuӲУӳу",
	0x030c: "ČCčcĎDďdĚEěeĽLľlŇNňnŘRřrŠSšsŤTťtŽZžzǍAǎaǏIǐiǑOǒoǓUǔuǙÜǚüǦGǧgǨKǩkǮƷǯʒǰjȞHȟh",
	0x030f: "ȀAȁaȄEȅeȈIȉiȌOȍoȐRȑrȔUȕuѶѴѷѵ",
	0x0311: "ȂAȃaȆEȇeȊIȋiȎOȏoȒRȓrȖUȗu",
	0x0313: "ἀαἈΑἐεἘΕἠηἨΗἰιἸΙὀοὈΟὐυὠωὨΩῤρ",
	0x0314: "ἁαἉΑἑεἙΕἡηἩΗἱιἹΙὁοὉΟὑυὙΥὡωὩΩῥρῬΡ",
	0x031b: "ƠOơoƯUưu",
	0x0323: "ḄBḅbḌDḍdḤHḥhḲKḳkḶLḷlṂMṃmṆNṇnṚRṛrṢSṣsṬTṭtṾVṿvẈWẉwẒZẓzẠAạaẸEẹeỊIịiỌOọoỢƠợơỤUụuỰƯựưỴYỵy",
	0x0324: "ṲUṳu",
	0x0325: "ḀAḁa",
	0x0326: "ȘSșsȚTțt",
	0x0327: "ÇCçcĢGģgĶKķkĻLļlŅNņnŖRŗrŞSşsŢTţtȨEȩeḐDḑdḨHḩh",
	0x0328: "ĄAąaĘEęeĮIįiŲUųuǪOǫo",
	0x032d: "ḒDḓdḘEḙeḼLḽlṊNṋnṰTṱtṶUṷu",
	0x032e: "ḪHḫh",
	0x0330: "ḚEḛeḬIḭiṴUṵu",
	0x0331: "ḆBḇbḎDḏdḴKḵkḺLḻlṈNṉnṞRṟrṮTṯtẔZẕzẖh",
	0x0342: "ἆἀἇἁἎἈἏἉἦἠἧἡἮἨἯἩἶἰἷἱἾἸἿἹὖὐὗὑὟὙὦὠὧὡὮὨὯὩᾶαῆηῖιῗϊῦυῧϋῶω",
	0x0345: "ᾀἀᾁἁᾂἂᾃἃᾄἄᾅἅᾆἆᾇἇᾈἈᾉἉᾊἊᾋἋᾌἌᾍἍᾎἎᾏἏᾐἠᾑἡᾒἢᾓἣᾔἤᾕἥᾖἦᾗἧᾘἨᾙἩᾚἪᾛἫᾜἬᾝἭᾞἮᾟἯᾠὠᾡὡᾢὢᾣὣᾤὤᾥὥᾦὦᾧὧᾨὨᾩὩ" +
		"ᾪὪᾫὫᾬὬᾭὭᾮὮᾯὯᾲὰᾳαᾴάᾷᾶᾼΑῂὴῃηῄήῇῆῌΗῲὼῳωῴώῷῶῼΩ",
	0x0653: "آا",
	0x0654: "أاؤوئيۀەۂہۓے",
	0x0655: "إا",
	0x093c: "ऩनऱरऴळक़कख़खग़गज़जड़डढ़ढफ़फय़य",
	0x09bc: "ড়ডঢ়ঢয়য",
	0x0a3c: "ਲ਼ਲਸ਼ਸਖ਼ਖਗ਼ਗਜ਼ਜਫ਼ਫ",
	0x0b3c: "ଡ଼ଡଢ଼ଢ",
}

// variants are pairs: a compatibility form of a letter or digit, then the plain one.
const variants = "ªa²2³3µμ¹1ºoſsʰhʱɦʲjʳrʴɹʵɻʶʁʷwʸyˠɣˡlˢsˣxˤʕʹʹϐβϑθϒΥϕφϖπϰκϱρϲςϴΘϵεϹΣჼნᴬAᴭÆᴮBᴰDᴱEᴲƎᴳGᴴH" +
	"ᴵIᴶJᴷKᴸLᴹMᴺNᴼOᴽȢᴾPᴿRᵀTᵁUᵂWᵃaᵄɐᵅɑᵆᴂᵇbᵈdᵉeᵊəᵋɛᵌɜᵍgᵏkᵐmᵑŋᵒoᵓɔᵔᴖᵕᴗᵖpᵗtᵘuᵙᴝᵚɯᵛvᵜᴥᵝβᵞγᵟδᵠφ" +
	"ᵡχᵢiᵣrᵤuᵥvᵦβᵧγᵨρᵩφᵪχᵸнᶛɒᶜcᶝɕᶞðᶟɜᶠfᶡɟᶢɡᶣɥᶤɨᶥɩᶦɪᶧᵻᶨʝᶩɭᶪᶅᶫʟᶬɱᶭɰᶮɲᶯɳᶰɴᶱɵᶲɸᶳʂᶴʃᶵƫᶶʉᶷʊᶸᴜᶹʋ" +
	"ᶺʌᶻzᶼʐᶽʑᶾʒᶿθάάέέήήίίόόύύώώΆΆιιΈΈΉΉΐΐΊΊΰΰΎΎΌΌΏΏ⁰0ⁱi⁴4⁵5⁶6⁷7⁸8⁹9ⁿn₀0₁1₂2₃3₄4₅5₆6₇7₈8₉9" +
	"ₐaₑeₒoₓxₔəₕhₖkₗlₘmₙnₚpₛsₜtℂCℇƐℊgℋHℌHℍHℎhℏħℐIℑIℒLℓlℕNℙPℚQℛRℜRℝRℤZΩΩℨZKKÅÅℬBℭCℯeℰEℱFℳM" +
	"ℴoℵאℶבℷגℸדℹiℼπℽγℾΓℿΠⅅDⅆdⅇeⅈiⅉj"

// twins are pairs: a letter of another script that looks like one of ours, then ours.
const twins = "аaеeоoрpсcуyхxіiјjѕsһhԁdԛqԝwоoАAВBЕEКKМMНHОOРPСCТTХXІIЈJЅSУYΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤT" +
	"ΥYΧXοoνvιi"
